package messaging

import (
	"hash/maphash"
	"os"
)

// credential tells what a broker would be shown now from what it was shown before; nil when that never changes. What it
// returns means nothing outside this process.
func (c Config) credential() func() uint64 {
	var files []string
	for _, f := range []string{c.SASLPasswordFile, c.SSLCertificateLocation, c.SSLKeyLocation} {
		if f != "" {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil
	}
	seed := maphash.MakeSeed()
	return func() uint64 {
		var h maphash.Hash
		h.SetSeed(seed)
		for _, f := range files {
			b, _ := os.ReadFile(f) //nolint:gosec // the operator's own; one that can't be read is told by who needs it
			_, _ = h.Write(b)
			_ = h.WriteByte(0)
		}
		return h.Sum64()
	}
}
