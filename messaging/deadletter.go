package messaging

import (
	"errors"
	"fmt"
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

func deadLetterHeader(name string) bool {
	switch name {
	case headerOriginalTopic, headerOriginalPartition, headerOriginalOffset, headerOriginalTimestamp, headerOriginalGroup,
		headerErrorType, headerErrorMessage, headerAttempts, headerFailedAt:
		return true
	}
	return false
}

// DeadLetter is a record of a dead-letter topic, taken apart.
type DeadLetter struct {
	Topic     string // the dead-letter topic
	Partition int32
	Offset    int64

	// What failed: the original's key, value and headers, without those of the dead letter.
	Key     []byte
	Value   []byte
	Headers []Header

	OriginalTopic     string
	OriginalPartition int32 // -1: not told
	OriginalOffset    int64 // -1: not told
	OriginalTime      time.Time
	Group             string // whose handler failed
	ErrorType         string
	ErrorMessage      string // may quote the body
	Attempts          int
	FailedAt          time.Time // the letter's own timestamp where it is not told
}

// ParseDeadLetter takes a record apart that a [Subscriber] wrote to its
// dead-letter topic, for a [HandleRecord] on that topic, say. Partition and
// Offset of the letter itself are -1; a [Delivery] has them. It is an error when the
// record does not say which topic it came from; what else is missing is zero, or as told above.
func ParseDeadLetter(r Record) (DeadLetter, error) {
	return deadLetterOf(&recordbatch.Record{
		Topic: r.Topic, Partition: -1, LeaderEpoch: -1, Offset: -1, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers,
	})
}

func deadLetterOf(rec *recordbatch.Record) (DeadLetter, error) {
	l := DeadLetter{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key, Value: rec.Value,
		OriginalPartition: -1, OriginalOffset: -1, FailedAt: rec.Timestamp,
	}
	_, retried := retryGroup(rec.Headers)
	l.Headers = make([]Header, 0, len(rec.Headers))
	for _, h := range rec.Headers {
		if !deadLetterHeader(h.Key) && (!retried || !retryHeader(h.Key)) {
			l.Headers = append(l.Headers, h)
			continue
		}
		v := string(h.Value)
		switch h.Key {
		case headerOriginalTopic:
			l.OriginalTopic = v
		case headerOriginalPartition:
			if n, err := strconv.ParseInt(v, 10, 32); err == nil {
				l.OriginalPartition = int32(n)
			}
		case headerOriginalOffset:
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				l.OriginalOffset = n
			}
		case headerOriginalTimestamp:
			l.OriginalTime, _ = time.Parse(time.RFC3339, v) // zero where it is none
		case headerOriginalGroup:
			l.Group = v
		case headerErrorType:
			l.ErrorType = v
		case headerErrorMessage:
			l.ErrorMessage = v
		case headerAttempts:
			l.Attempts, _ = strconv.Atoi(v) // zero where it is none
		case headerFailedAt:
			if t, err := time.Parse(time.RFC3339, v); err == nil {
				l.FailedAt = t
			}
		}
	}
	if err := checkTopicName(l.OriginalTopic); err != nil {
		return l, fmt.Errorf("messaging: the record is no dead letter: its header %s: %w", headerOriginalTopic, err)
	}
	return l, nil
}

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
	_, retried := retryGroup(rec.Headers)
	headers := make([]Header, 0, len(rec.Headers)+len(own))
	for _, h := range rec.Headers {
		// Those of an earlier failure, if the record was dead-lettered before, or is a retry.
		if !deadLetterHeader(h.Key) && (!retried || !retryHeader(h.Key)) {
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
