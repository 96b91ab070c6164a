package embedded

import "context"

// TB is what [Run] needs of a *testing.T or *testing.B, so that no program that embeds a broker links package testing.
type TB interface {
	Helper()
	Cleanup(fn func())
	Fatalf(format string, args ...any)
}

// Run starts a broker that stops when the test ends: after every cleanup that is registered after it, so a client's own
// cleanup still meets a broker. The test fails at once when the broker doesn't start.
func Run(t TB, opts ...Option) *Broker {
	t.Helper()
	b, err := Start(context.Background(), opts...)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		t.Helper()
		if err := b.Close(); err != nil {
			t.Fatalf("%v", err)
		}
	})
	return b
}
