//go:build !race

package main_test

// buildFlags has the binary under test built as the test is.
func buildFlags() []string { return nil }
