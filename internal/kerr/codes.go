package kerr

// The codes, as org.apache.kafka.common.protocol.Errors of Apache Kafka 4.1 lists them.
const (
	UnknownServerError                 Code = -1
	None                               Code = 0
	OffsetOutOfRange                   Code = 1
	CorruptMessage                     Code = 2
	UnknownTopicOrPartition            Code = 3
	InvalidFetchSize                   Code = 4
	LeaderNotAvailable                 Code = 5
	NotLeaderOrFollower                Code = 6
	RequestTimedOut                    Code = 7
	BrokerNotAvailable                 Code = 8
	ReplicaNotAvailable                Code = 9
	MessageTooLarge                    Code = 10
	StaleControllerEpoch               Code = 11
	OffsetMetadataTooLarge             Code = 12
	NetworkException                   Code = 13
	CoordinatorLoadInProgress          Code = 14
	CoordinatorNotAvailable            Code = 15
	NotCoordinator                     Code = 16
	InvalidTopicException              Code = 17
	RecordListTooLarge                 Code = 18
	NotEnoughReplicas                  Code = 19
	NotEnoughReplicasAfterAppend       Code = 20
	InvalidRequiredAcks                Code = 21
	IllegalGeneration                  Code = 22
	InconsistentGroupProtocol          Code = 23
	InvalidGroupId                     Code = 24
	UnknownMemberId                    Code = 25
	InvalidSessionTimeout              Code = 26
	RebalanceInProgress                Code = 27
	InvalidCommitOffsetSize            Code = 28
	TopicAuthorizationFailed           Code = 29
	GroupAuthorizationFailed           Code = 30
	ClusterAuthorizationFailed         Code = 31
	InvalidTimestamp                   Code = 32
	UnsupportedSaslMechanism           Code = 33
	IllegalSaslState                   Code = 34
	UnsupportedVersion                 Code = 35
	TopicAlreadyExists                 Code = 36
	InvalidPartitions                  Code = 37
	InvalidReplicationFactor           Code = 38
	InvalidReplicaAssignment           Code = 39
	InvalidConfig                      Code = 40
	NotController                      Code = 41
	InvalidRequest                     Code = 42
	UnsupportedForMessageFormat        Code = 43
	PolicyViolation                    Code = 44
	OutOfOrderSequenceNumber           Code = 45
	DuplicateSequenceNumber            Code = 46
	InvalidProducerEpoch               Code = 47
	InvalidTxnState                    Code = 48
	InvalidProducerIdMapping           Code = 49
	InvalidTransactionTimeout          Code = 50
	ConcurrentTransactions             Code = 51
	TransactionCoordinatorFenced       Code = 52
	TransactionalIdAuthorizationFailed Code = 53
	SecurityDisabled                   Code = 54
	OperationNotAttempted              Code = 55
	KafkaStorageError                  Code = 56
	LogDirNotFound                     Code = 57
	SaslAuthenticationFailed           Code = 58
	UnknownProducerId                  Code = 59
	ReassignmentInProgress             Code = 60
	DelegationTokenAuthDisabled        Code = 61
	DelegationTokenNotFound            Code = 62
	DelegationTokenOwnerMismatch       Code = 63
	DelegationTokenRequestNotAllowed   Code = 64
	DelegationTokenAuthorizationFailed Code = 65
	DelegationTokenExpired             Code = 66
	InvalidPrincipalType               Code = 67
	NonEmptyGroup                      Code = 68
	GroupIdNotFound                    Code = 69
	FetchSessionIdNotFound             Code = 70
	InvalidFetchSessionEpoch           Code = 71
	ListenerNotFound                   Code = 72
	TopicDeletionDisabled              Code = 73
	FencedLeaderEpoch                  Code = 74
	UnknownLeaderEpoch                 Code = 75
	UnsupportedCompressionType         Code = 76
	StaleBrokerEpoch                   Code = 77
	OffsetNotAvailable                 Code = 78
	MemberIdRequired                   Code = 79
	PreferredLeaderNotAvailable        Code = 80
	GroupMaxSizeReached                Code = 81
	FencedInstanceId                   Code = 82
	EligibleLeadersNotAvailable        Code = 83
	ElectionNotNeeded                  Code = 84
	NoReassignmentInProgress           Code = 85
	GroupSubscribedToTopic             Code = 86
	InvalidRecord                      Code = 87
	UnstableOffsetCommit               Code = 88
	ThrottlingQuotaExceeded            Code = 89
	ProducerFenced                     Code = 90
	ResourceNotFound                   Code = 91
	DuplicateResource                  Code = 92
	UnacceptableCredential             Code = 93
	InconsistentVoterSet               Code = 94
	InvalidUpdateVersion               Code = 95
	FeatureUpdateFailed                Code = 96
	PrincipalDeserializationFailure    Code = 97
	SnapshotNotFound                   Code = 98
	PositionOutOfRange                 Code = 99
	UnknownTopicId                     Code = 100
	DuplicateBrokerRegistration        Code = 101
	BrokerIdNotRegistered              Code = 102
	InconsistentTopicId                Code = 103
	InconsistentClusterId              Code = 104
	TransactionalIdNotFound            Code = 105
	FetchSessionTopicIdError           Code = 106
	IneligibleReplica                  Code = 107
	NewLeaderElected                   Code = 108
	OffsetMovedToTieredStorage         Code = 109
	FencedMemberEpoch                  Code = 110
	UnreleasedInstanceId               Code = 111
	UnsupportedAssignor                Code = 112
	StaleMemberEpoch                   Code = 113
	MismatchedEndpointType             Code = 114
	UnsupportedEndpointType            Code = 115
	UnknownControllerId                Code = 116
	UnknownSubscriptionId              Code = 117
	TelemetryTooLarge                  Code = 118
	InvalidRegistration                Code = 119
	TransactionAbortable               Code = 120
	InvalidRecordState                 Code = 121
	ShareSessionNotFound               Code = 122
	InvalidShareSessionEpoch           Code = 123
	FencedStateEpoch                   Code = 124
	InvalidVoterKey                    Code = 125
	DuplicateVoter                     Code = 126
	VoterNotFound                      Code = 127
	InvalidRegularExpression           Code = 128
	RebootstrapRequired                Code = 129
	StreamsInvalidTopology             Code = 130
	StreamsInvalidTopologyEpoch        Code = 131
	StreamsTopologyFenced              Code = 132
	ShareSessionLimitReached           Code = 133
)

func name(c Code) string {
	switch c {
	case UnknownServerError:
		return "UNKNOWN_SERVER_ERROR"
	case None:
		return "NONE"
	case OffsetOutOfRange:
		return "OFFSET_OUT_OF_RANGE"
	case CorruptMessage:
		return "CORRUPT_MESSAGE"
	case UnknownTopicOrPartition:
		return "UNKNOWN_TOPIC_OR_PARTITION"
	case InvalidFetchSize:
		return "INVALID_FETCH_SIZE"
	case LeaderNotAvailable:
		return "LEADER_NOT_AVAILABLE"
	case NotLeaderOrFollower:
		return "NOT_LEADER_OR_FOLLOWER"
	case RequestTimedOut:
		return "REQUEST_TIMED_OUT"
	case BrokerNotAvailable:
		return "BROKER_NOT_AVAILABLE"
	case ReplicaNotAvailable:
		return "REPLICA_NOT_AVAILABLE"
	case MessageTooLarge:
		return "MESSAGE_TOO_LARGE"
	case StaleControllerEpoch:
		return "STALE_CONTROLLER_EPOCH"
	case OffsetMetadataTooLarge:
		return "OFFSET_METADATA_TOO_LARGE"
	case NetworkException:
		return "NETWORK_EXCEPTION"
	case CoordinatorLoadInProgress:
		return "COORDINATOR_LOAD_IN_PROGRESS"
	case CoordinatorNotAvailable:
		return "COORDINATOR_NOT_AVAILABLE"
	case NotCoordinator:
		return "NOT_COORDINATOR"
	case InvalidTopicException:
		return "INVALID_TOPIC_EXCEPTION"
	case RecordListTooLarge:
		return "RECORD_LIST_TOO_LARGE"
	case NotEnoughReplicas:
		return "NOT_ENOUGH_REPLICAS"
	case NotEnoughReplicasAfterAppend:
		return "NOT_ENOUGH_REPLICAS_AFTER_APPEND"
	case InvalidRequiredAcks:
		return "INVALID_REQUIRED_ACKS"
	case IllegalGeneration:
		return "ILLEGAL_GENERATION"
	case InconsistentGroupProtocol:
		return "INCONSISTENT_GROUP_PROTOCOL"
	case InvalidGroupId:
		return "INVALID_GROUP_ID"
	case UnknownMemberId:
		return "UNKNOWN_MEMBER_ID"
	case InvalidSessionTimeout:
		return "INVALID_SESSION_TIMEOUT"
	case RebalanceInProgress:
		return "REBALANCE_IN_PROGRESS"
	case InvalidCommitOffsetSize:
		return "INVALID_COMMIT_OFFSET_SIZE"
	case TopicAuthorizationFailed:
		return "TOPIC_AUTHORIZATION_FAILED"
	case GroupAuthorizationFailed:
		return "GROUP_AUTHORIZATION_FAILED"
	case ClusterAuthorizationFailed:
		return "CLUSTER_AUTHORIZATION_FAILED"
	case InvalidTimestamp:
		return "INVALID_TIMESTAMP"
	case UnsupportedSaslMechanism:
		return "UNSUPPORTED_SASL_MECHANISM"
	case IllegalSaslState:
		return "ILLEGAL_SASL_STATE"
	case UnsupportedVersion:
		return "UNSUPPORTED_VERSION"
	case TopicAlreadyExists:
		return "TOPIC_ALREADY_EXISTS"
	case InvalidPartitions:
		return "INVALID_PARTITIONS"
	case InvalidReplicationFactor:
		return "INVALID_REPLICATION_FACTOR"
	case InvalidReplicaAssignment:
		return "INVALID_REPLICA_ASSIGNMENT"
	case InvalidConfig:
		return "INVALID_CONFIG"
	case NotController:
		return "NOT_CONTROLLER"
	case InvalidRequest:
		return "INVALID_REQUEST"
	case UnsupportedForMessageFormat:
		return "UNSUPPORTED_FOR_MESSAGE_FORMAT"
	case PolicyViolation:
		return "POLICY_VIOLATION"
	case OutOfOrderSequenceNumber:
		return "OUT_OF_ORDER_SEQUENCE_NUMBER"
	case DuplicateSequenceNumber:
		return "DUPLICATE_SEQUENCE_NUMBER"
	case InvalidProducerEpoch:
		return "INVALID_PRODUCER_EPOCH"
	case InvalidTxnState:
		return "INVALID_TXN_STATE"
	case InvalidProducerIdMapping:
		return "INVALID_PRODUCER_ID_MAPPING"
	case InvalidTransactionTimeout:
		return "INVALID_TRANSACTION_TIMEOUT"
	case ConcurrentTransactions:
		return "CONCURRENT_TRANSACTIONS"
	case TransactionCoordinatorFenced:
		return "TRANSACTION_COORDINATOR_FENCED"
	case TransactionalIdAuthorizationFailed:
		return "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"
	case SecurityDisabled:
		return "SECURITY_DISABLED"
	case OperationNotAttempted:
		return "OPERATION_NOT_ATTEMPTED"
	case KafkaStorageError:
		return "KAFKA_STORAGE_ERROR"
	case LogDirNotFound:
		return "LOG_DIR_NOT_FOUND"
	case SaslAuthenticationFailed:
		return "SASL_AUTHENTICATION_FAILED"
	case UnknownProducerId:
		return "UNKNOWN_PRODUCER_ID"
	case ReassignmentInProgress:
		return "REASSIGNMENT_IN_PROGRESS"
	case DelegationTokenAuthDisabled:
		return "DELEGATION_TOKEN_AUTH_DISABLED"
	case DelegationTokenNotFound:
		return "DELEGATION_TOKEN_NOT_FOUND"
	case DelegationTokenOwnerMismatch:
		return "DELEGATION_TOKEN_OWNER_MISMATCH"
	case DelegationTokenRequestNotAllowed:
		return "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"
	case DelegationTokenAuthorizationFailed:
		return "DELEGATION_TOKEN_AUTHORIZATION_FAILED"
	case DelegationTokenExpired:
		return "DELEGATION_TOKEN_EXPIRED"
	case InvalidPrincipalType:
		return "INVALID_PRINCIPAL_TYPE"
	case NonEmptyGroup:
		return "NON_EMPTY_GROUP"
	case GroupIdNotFound:
		return "GROUP_ID_NOT_FOUND"
	case FetchSessionIdNotFound:
		return "FETCH_SESSION_ID_NOT_FOUND"
	case InvalidFetchSessionEpoch:
		return "INVALID_FETCH_SESSION_EPOCH"
	case ListenerNotFound:
		return "LISTENER_NOT_FOUND"
	case TopicDeletionDisabled:
		return "TOPIC_DELETION_DISABLED"
	case FencedLeaderEpoch:
		return "FENCED_LEADER_EPOCH"
	case UnknownLeaderEpoch:
		return "UNKNOWN_LEADER_EPOCH"
	case UnsupportedCompressionType:
		return "UNSUPPORTED_COMPRESSION_TYPE"
	case StaleBrokerEpoch:
		return "STALE_BROKER_EPOCH"
	case OffsetNotAvailable:
		return "OFFSET_NOT_AVAILABLE"
	case MemberIdRequired:
		return "MEMBER_ID_REQUIRED"
	case PreferredLeaderNotAvailable:
		return "PREFERRED_LEADER_NOT_AVAILABLE"
	case GroupMaxSizeReached:
		return "GROUP_MAX_SIZE_REACHED"
	case FencedInstanceId:
		return "FENCED_INSTANCE_ID"
	case EligibleLeadersNotAvailable:
		return "ELIGIBLE_LEADERS_NOT_AVAILABLE"
	case ElectionNotNeeded:
		return "ELECTION_NOT_NEEDED"
	case NoReassignmentInProgress:
		return "NO_REASSIGNMENT_IN_PROGRESS"
	case GroupSubscribedToTopic:
		return "GROUP_SUBSCRIBED_TO_TOPIC"
	case InvalidRecord:
		return "INVALID_RECORD"
	case UnstableOffsetCommit:
		return "UNSTABLE_OFFSET_COMMIT"
	case ThrottlingQuotaExceeded:
		return "THROTTLING_QUOTA_EXCEEDED"
	case ProducerFenced:
		return "PRODUCER_FENCED"
	case ResourceNotFound:
		return "RESOURCE_NOT_FOUND"
	case DuplicateResource:
		return "DUPLICATE_RESOURCE"
	case UnacceptableCredential:
		return "UNACCEPTABLE_CREDENTIAL"
	case InconsistentVoterSet:
		return "INCONSISTENT_VOTER_SET"
	case InvalidUpdateVersion:
		return "INVALID_UPDATE_VERSION"
	case FeatureUpdateFailed:
		return "FEATURE_UPDATE_FAILED"
	case PrincipalDeserializationFailure:
		return "PRINCIPAL_DESERIALIZATION_FAILURE"
	case SnapshotNotFound:
		return "SNAPSHOT_NOT_FOUND"
	case PositionOutOfRange:
		return "POSITION_OUT_OF_RANGE"
	case UnknownTopicId:
		return "UNKNOWN_TOPIC_ID"
	case DuplicateBrokerRegistration:
		return "DUPLICATE_BROKER_REGISTRATION"
	case BrokerIdNotRegistered:
		return "BROKER_ID_NOT_REGISTERED"
	case InconsistentTopicId:
		return "INCONSISTENT_TOPIC_ID"
	case InconsistentClusterId:
		return "INCONSISTENT_CLUSTER_ID"
	case TransactionalIdNotFound:
		return "TRANSACTIONAL_ID_NOT_FOUND"
	case FetchSessionTopicIdError:
		return "FETCH_SESSION_TOPIC_ID_ERROR"
	case IneligibleReplica:
		return "INELIGIBLE_REPLICA"
	case NewLeaderElected:
		return "NEW_LEADER_ELECTED"
	case OffsetMovedToTieredStorage:
		return "OFFSET_MOVED_TO_TIERED_STORAGE"
	case FencedMemberEpoch:
		return "FENCED_MEMBER_EPOCH"
	case UnreleasedInstanceId:
		return "UNRELEASED_INSTANCE_ID"
	case UnsupportedAssignor:
		return "UNSUPPORTED_ASSIGNOR"
	case StaleMemberEpoch:
		return "STALE_MEMBER_EPOCH"
	case MismatchedEndpointType:
		return "MISMATCHED_ENDPOINT_TYPE"
	case UnsupportedEndpointType:
		return "UNSUPPORTED_ENDPOINT_TYPE"
	case UnknownControllerId:
		return "UNKNOWN_CONTROLLER_ID"
	case UnknownSubscriptionId:
		return "UNKNOWN_SUBSCRIPTION_ID"
	case TelemetryTooLarge:
		return "TELEMETRY_TOO_LARGE"
	case InvalidRegistration:
		return "INVALID_REGISTRATION"
	case TransactionAbortable:
		return "TRANSACTION_ABORTABLE"
	case InvalidRecordState:
		return "INVALID_RECORD_STATE"
	case ShareSessionNotFound:
		return "SHARE_SESSION_NOT_FOUND"
	case InvalidShareSessionEpoch:
		return "INVALID_SHARE_SESSION_EPOCH"
	case FencedStateEpoch:
		return "FENCED_STATE_EPOCH"
	case InvalidVoterKey:
		return "INVALID_VOTER_KEY"
	case DuplicateVoter:
		return "DUPLICATE_VOTER"
	case VoterNotFound:
		return "VOTER_NOT_FOUND"
	case InvalidRegularExpression:
		return "INVALID_REGULAR_EXPRESSION"
	case RebootstrapRequired:
		return "REBOOTSTRAP_REQUIRED"
	case StreamsInvalidTopology:
		return "STREAMS_INVALID_TOPOLOGY"
	case StreamsInvalidTopologyEpoch:
		return "STREAMS_INVALID_TOPOLOGY_EPOCH"
	case StreamsTopologyFenced:
		return "STREAMS_TOPOLOGY_FENCED"
	case ShareSessionLimitReached:
		return "SHARE_SESSION_LIMIT_REACHED"
	}
	return ""
}
