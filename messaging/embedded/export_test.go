package embedded

// Settings lets a test combine options.
type Settings = settings
