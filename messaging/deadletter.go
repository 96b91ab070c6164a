package messaging

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// The headers of a dead letter, beside those of the record itself.
const (
	headerOriginalTopic     = "dlt-original-topic"
	headerOriginalPartition = "dlt-original-partition"
	headerOriginalOffset    = "dlt-original-offset"
	headerOriginalTimestamp = "dlt-original-timestamp"
	headerOriginalGroup     = "dlt-original-consumer-group"
	headerErrorType         = "dlt-error-type"
	headerErrorMessage      = "dlt-error-message"
	headerAttempts          = "dlt-attempts"
	headerFailedAt          = "dlt-failed-at"
)

// maxErrorMessage bounds dlt-error-message, in bytes.
const maxErrorMessage = 1 << 10

// rfc3339Milli has as many digits as a Kafka timestamp.
const rfc3339Milli = "2006-01-02T15:04:05.000Z07:00"

// newDeadLetter returns the record for the dead-letter topic. Its own timestamp
// is the moment of writing: by the original's, which may be old, the topic's
// retention could remove it at once.
func newDeadLetter(topic, group string, rec *recordbatch.Record, f *failure, now time.Time) Record {
	own := []Header{
		{Key: headerOriginalTopic, Value: []byte(rec.Topic)},
		{Key: headerOriginalPartition, Value: strconv.AppendInt(nil, int64(rec.Partition), 10)},
		{Key: headerOriginalOffset, Value: strconv.AppendInt(nil, rec.Offset, 10)},
		{Key: headerOriginalTimestamp, Value: rec.Timestamp.UTC().AppendFormat(nil, rfc3339Milli)},
		{Key: headerOriginalGroup, Value: []byte(group)},
		{Key: headerErrorType, Value: []byte(f.kind)},
		{Key: headerErrorMessage, Value: []byte(printable(f.text, maxErrorMessage))},
		{Key: headerAttempts, Value: strconv.AppendInt(nil, int64(f.attempt), 10)},
		{Key: headerFailedAt, Value: now.UTC().AppendFormat(nil, rfc3339Milli)},
	}
	headers := make([]Header, 0, len(rec.Headers)+len(own))
	for _, h := range rec.Headers {
		// Of an earlier failure, if the record was dead-lettered before.
		if !slices.ContainsFunc(own, func(o Header) bool { return o.Key == h.Key }) {
			headers = append(headers, h)
		}
	}
	return Record{Topic: topic, Key: rec.Key, Value: rec.Value, Headers: append(headers, own...)}
}

// printable returns s without control characters and invalid UTF-8, cut to at most limit bytes.
func printable(s string, limit int) string {
	s = s[:min(len(s), utf8.UTFMax*limit)] // enough for limit bytes, whatever is replaced
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// deadLetterAdvice says what an operator can do.
func deadLetterAdvice(err error) string {
	switch {
	case errors.Is(err, ErrUnknownTopic):
		return "create the topic, for example with EnsureTopics"
	case errors.Is(err, ErrNotAuthorized):
		return "grant the service WRITE and DESCRIBE on the topic"
	case errors.Is(err, ErrTooLarge):
		return "raise max.message.bytes of the topic; the record has some headers more than it had"
	case errors.Is(err, ErrAuthentication):
		return "check the credentials and certificates"
	}
	return "it will be tried again"
}
