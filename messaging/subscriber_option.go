package messaging

type subscriberOptions struct {
	commonOptions

	retry retryPolicy
}
