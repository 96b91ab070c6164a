package kerr

// Verdict is what a producer does about the answer to a batch.
type Verdict uint8

const (
	// Fail says that the batch will never be accepted; the caller gets the error.
	Fail Verdict = iota
	// Done says that the batch is in the log.
	Done
	// Retry asks for the same bytes again, after a pause.
	Retry
	// Sequence says that the broker's idea of the producer's sequence is not ours; see package producer.
	Sequence
)

// Produced is what one code in the answer to a produce request means.
type Produced struct {
	Verdict  Verdict
	Refresh  bool // our view of the leaders is out of date
	Possibly bool // the records may stand in the log in spite of the error
}

// OfProduce classifies an answer to a produce request. Codes that are not
// named here, those of future brokers among them, are final and possibly
// written: neither a second copy nor a false "nothing was written" may come of
// what we do not know.
func OfProduce(c Code) Produced {
	switch c {
	case None:
		return Produced{Verdict: Done}
	case DuplicateSequenceNumber:
		// The batch is older than the five that the broker remembers with their offsets: it is in the log.
		return Produced{Verdict: Done}

	case UnknownTopicOrPartition, LeaderNotAvailable, NotLeaderOrFollower, ReplicaNotAvailable,
		ListenerNotFound, FencedLeaderEpoch, UnknownLeaderEpoch, UnknownTopicId, BrokerNotAvailable:
		// The broker does not lead the partition (any more, or yet). It may have done
		// so when the batch came: a batch that waits for its followers while the
		// leader moves gets this answer, and the new leader may have the batch.
		return Produced{Verdict: Retry, Refresh: true, Possibly: true}
	case KafkaStorageError:
		// The log directory failed, perhaps within the append; another replica takes over.
		return Produced{Verdict: Retry, Refresh: true, Possibly: true}
	case NetworkException:
		// The broker lost its own connection to whom it asked.
		return Produced{Verdict: Retry, Refresh: true, Possibly: true}
	case NotEnoughReplicas:
		// Fewer in sync than min.insync.replicas: refused before the append.
		return Produced{Verdict: Retry, Refresh: true}
	case NotEnoughReplicasAfterAppend, RequestTimedOut:
		// In the leader's log, but not acknowledged by enough followers in time.
		return Produced{Verdict: Retry, Possibly: true}
	case CorruptMessage:
		// The CRC did not hold: damaged on its way, the bytes here are right.
		return Produced{Verdict: Retry}
	case CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator, ConcurrentTransactions, ThrottlingQuotaExceeded:
		return Produced{Verdict: Retry}

	case OutOfOrderSequenceNumber, UnknownProducerId, InvalidProducerEpoch:
		return Produced{Verdict: Sequence}

	case MessageTooLarge, RecordListTooLarge, InvalidTopicException, InvalidRequiredAcks, InvalidTimestamp,
		InvalidRecord, UnsupportedForMessageFormat, UnsupportedCompressionType, UnsupportedVersion,
		PolicyViolation, InvalidRequest, InvalidConfig,
		TopicAuthorizationFailed, ClusterAuthorizationFailed, TransactionalIdAuthorizationFailed,
		SaslAuthenticationFailed, IllegalSaslState, UnsupportedSaslMechanism, SecurityDisabled,
		ProducerFenced, InvalidProducerIdMapping, InvalidTxnState, TransactionCoordinatorFenced:
		// Refused by a check that comes before the append.
		return Produced{Verdict: Fail}
	default:
		return Produced{Verdict: Fail, Possibly: true}
	}
}
