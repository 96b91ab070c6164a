package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/compress"
)

// decompress returns at most limit bytes. What a codec would allocate on the
// word of the bytes themselves is checked before the codec sees them.
func decompress(src []byte, codec, limit int) (out []byte, err error) {
	if codec == int(compress.None) {
		return src, nil
	}
	c := compress.Compression(codec).Codec()
	if c == nil {
		return nil, fmt.Errorf("%w: compression %d", ErrMalformed, codec)
	}
	switch compress.Compression(codec) {
	case compress.Snappy:
		err = checkSnappy(src, limit)
	case compress.Zstd:
		err = checkZstd(src, limit)
	default:
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("%w: %s: %v", ErrMalformed, c.Name(), r)
		}
	}()
	r := c.NewReader(bytes.NewReader(src))
	out, err = readAtMost(r, 4*len(src)+512, limit)
	_ = r.Close() // gives the codec back; there is nothing left to fail
	if err != nil && !errors.Is(err, ErrBatchTooLarge) {
		err = fmt.Errorf("%w: %s: %w", ErrMalformed, c.Name(), err)
	}
	return out, err
}

func readAtMost(r io.Reader, guess, limit int) ([]byte, error) {
	buf := make([]byte, 0, min(guess, limit+1))
	idle := 0
	for {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(2*cap(buf), limit+1))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > limit {
			return nil, fmt.Errorf("%w: over %d bytes", ErrBatchTooLarge, limit)
		}
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
		if n > 0 {
			idle = 0
		} else if idle++; idle > 100 {
			return nil, io.ErrNoProgress
		}
	}
}

// checkSnappy adds up the decoded lengths that the blocks declare. The framing
// is the one of xerial's snappy-java: a header of 16 bytes, then blocks, each with its length before it.
func checkSnappy(src []byte, limit int) error {
	magic := []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}
	if len(src) < 16 || !bytes.HasPrefix(src, magic) {
		_, err := snappyLen(src, limit)
		return err
	}
	left := limit
	for src = src[16:]; len(src) > 0; {
		if len(src) < 4 {
			return fmt.Errorf("%w: snappy block cut short", ErrMalformed)
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return fmt.Errorf("%w: snappy block of %d bytes, %d are there", ErrMalformed, n, len(src))
		}
		size, err := snappyLen(src[:n], left)
		if err != nil {
			return err
		}
		left -= size
		src = src[n:]
	}
	return nil
}

func snappyLen(block []byte, limit int) (int, error) {
	n, k := binary.Uvarint(block)
	if k <= 0 {
		return 0, fmt.Errorf("%w: snappy block without its length", ErrMalformed)
	}
	if n > uint64(limit) {
		return 0, fmt.Errorf("%w: snappy declares %d bytes more, %d are left", ErrBatchTooLarge, n, limit)
	}
	return int(n), nil
}

// checkZstd walks the frames for the window that each of them asks for (RFC 8878, 3.1.1).
func checkZstd(src []byte, limit int) error {
	const (
		frameMagic    = 0xFD2FB528
		skippable     = 0x184D2A50
		leastWindow   = 8 << 20 // a decoder should support that much
		blockRLE      = 1
		blockReserved = 3
	)
	short := fmt.Errorf("%w: zstd frame cut short", ErrMalformed)
	for len(src) > 0 {
		if len(src) < 8 {
			return short
		}
		magic := binary.LittleEndian.Uint32(src)
		if magic&^0xF == skippable {
			n := uint64(binary.LittleEndian.Uint32(src[4:]))
			if n > uint64(len(src)-8) {
				return short
			}
			src = src[8+n:]
			continue
		}
		if magic != frameMagic {
			return fmt.Errorf("%w: no zstd frame", ErrMalformed)
		}
		window, size, ok := zstdWindow(src[4:])
		if !ok {
			return short
		}
		if window > uint64(max(limit, leastWindow)) {
			return fmt.Errorf("%w: zstd asks for a window of %d bytes", ErrBatchTooLarge, window)
		}
		checksum := src[4]&0x04 != 0
		src = src[4+size:]
		for last := false; !last; {
			if len(src) < 3 {
				return short
			}
			b := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
			src = src[3:]
			n := int(b >> 3)
			switch b >> 1 & 3 {
			case blockRLE:
				n = 1
			case blockReserved:
				return fmt.Errorf("%w: reserved zstd block", ErrMalformed)
			}
			if n > len(src) {
				return short
			}
			src = src[n:]
			last = b&1 != 0
		}
		if checksum {
			if len(src) < 4 {
				return short
			}
			src = src[4:]
		}
	}
	return nil
}

// zstdWindow reads a frame header behind its magic number: the window and the header's size.
func zstdWindow(b []byte) (window uint64, size int, ok bool) {
	d := b[0]
	single := d&0x20 != 0
	size = 1
	if !single {
		w := b[1]
		base := uint64(1) << (10 + w>>3)
		window = base + base/8*uint64(w&7)
		size++
	}
	size += [4]int{0, 1, 2, 4}[d&3] // dictionary ID
	fcs := [4]int{0, 2, 4, 8}[d>>6]
	if single && fcs == 0 {
		fcs = 1
	}
	if len(b) < size+fcs {
		return 0, 0, false
	}
	if single {
		var v [8]byte
		copy(v[:], b[size:size+fcs])
		window = binary.LittleEndian.Uint64(v[:])
		if fcs == 2 {
			window += 256
		}
	}
	return window, size + fcs, true
}
