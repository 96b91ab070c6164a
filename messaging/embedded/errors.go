package embedded

import "errors"

var (
	// ErrPortInUse is in the error of [Start] when something listens already on the port of [WithPort].
	ErrPortInUse = errors.New("port in use")

	// ErrFolderInUse is in the error of [Start] when another broker, in this process or another, uses the folder of [WithDataDir].
	ErrFolderInUse = errors.New("folder in use")

	errNotKafka = errors.New("embedded: not a Kafka request")
)
