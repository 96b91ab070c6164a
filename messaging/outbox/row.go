package outbox

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"unicode/utf8"

	"github.com/expensevault/sharedlibrary/messaging"
)

// shards is into how many the keys are divided: a constant of the schema, for
// all who write and all who relay must agree on it.
const shards = 8

// shardOf is the shard of a key: always the same, so that one relay at a time
// has all events of a key. Without a key it is any.
func shardOf(key []byte) int {
	if key == nil {
		return rand.IntN(shards) //nolint:gosec // spreads load, hides nothing
	}
	return int(crc32.ChecksumIEEE(key) % shards)
}

// encodeHeaders writes headers as JSON that people can read: a list of [name,
// text], of [name, null] for no value, and of [name, base64, "base64"] for a
// value that is not text.
func encodeHeaders(hs []messaging.Header) (string, error) {
	list := make([][]any, len(hs))
	for i, h := range hs {
		var value any
		var kind string
		switch {
		case h.Value == nil:
		case utf8.Valid(h.Value):
			value = string(h.Value)
		default:
			value, kind = base64.StdEncoding.EncodeToString(h.Value), "base64"
		}
		if !utf8.ValidString(h.Key) {
			return "", fmt.Errorf("the name of header %q is not UTF-8", h.Key)
		}
		list[i] = []any{h.Key, value}
		if kind != "" {
			list[i] = append(list[i], kind)
		}
	}
	out, err := json.Marshal(list)
	return string(out), err
}

var errHeaders = errors.New("the headers are not as the outbox writes them")

func decodeHeaders(text string) ([]messaging.Header, error) {
	var list [][]*string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("%w: %w", errHeaders, err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	hs := make([]messaging.Header, len(list))
	for i, h := range list {
		switch {
		case (len(h) != 2 && len(h) != 3) || h[0] == nil:
			return nil, errHeaders
		case len(h) == 2 && h[1] == nil:
		case len(h) == 2:
			hs[i].Value = []byte(*h[1])
		case h[1] == nil || h[2] == nil || *h[2] != "base64":
			return nil, errHeaders
		default:
			value, err := base64.StdEncoding.DecodeString(*h[1])
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errHeaders, err)
			}
			hs[i].Value = value
		}
		hs[i].Key = *h[0]
	}
	return hs, nil
}
