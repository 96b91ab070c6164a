package messaging

// Secret is a string that no log, error or dump shows.
type Secret string
