package messaging

import (
	"errors"
	"fmt"
)

// maxTopicName is Kafka's limit, in bytes.
const maxTopicName = 249

// checkTopicName reports what Kafka would refuse in a topic's name.
func checkTopicName(s string) error {
	switch {
	case s == "":
		return errors.New("the topic's name is empty")
	case s == "." || s == "..":
		return fmt.Errorf("topic %q: no topic may be called so", s)
	case len(s) > maxTopicName:
		return fmt.Errorf("topic %.40q… has %d bytes, Kafka takes %d at most", s, len(s), maxTopicName)
	}
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("topic %q contains %q: Kafka takes letters, digits, '.', '_' and '-' alone", s, c)
		}
	}
	return nil
}
