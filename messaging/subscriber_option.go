package messaging

type subscriberOptions struct {
	commonOptions
}

type handlerOptions struct{}
