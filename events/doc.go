// Package events holds the contract that services share: integration events,
// their envelope, their JSON and the names of their topics. It imports the
// standard library and google/uuid and nothing else, so that a service's events
// can live in a package that knows no Kafka.
//
// The whole definition of an event:
//
//	type ItemCreated struct {
//		events.Base
//		CustomItemID uuid.UUID `json:"customItemId"`
//		Name         string    `json:"name"`
//		UserID       uuid.UUID `json:"userId"`
//	}
//
//	func (*ItemCreated) Topic() events.Topic    { return events.NewTopic("customservice", "item", "created") }
//	func (e *ItemCreated) PartitionKey() string { return e.UserID.String() }
//
// Who publishes fills the fields below Base. [Stamp], which publishing calls,
// fills Base; [Encode] makes the body, [Decode] reads one:
//
//	&ItemCreated{…} ─► Stamp ─► Encode ─► {"eventId":…,"timestamp":…,"eventType":"created",…,"customItemId":…}
//	{"eventId":…} ─► Decode ─► &ItemCreated{…}
//
// The JSON is encoding/json's, byte for byte. An event of strings, booleans,
// numbers, UUIDs, times and structs embedded by value is written and read by code
// of this package at a third of encoding/json's price or less; fields of other
// types, such as slices, maps and what has methods of its own, cost what they
// cost there. So does the whole of a type that is out of the ordinary: with an
// embedded pointer, the tag option string, or names that hide each other.
//
// # Traps
//
//   - An event must not have MarshalJSON or UnmarshalJSON, nor embed a second
//     type that has them (time.Time, for one): the method is promoted and the
//     envelope is gone. That is why Base has none. Encode refuses what does not
//     come out as an object.
//   - A field of the event with the JSON name of one of Base's, such as
//     timestamp, silently takes its place in the body.
//   - Base is embedded without a JSON tag: with one it is nested instead of flat.
//     It is embedded first: the order of the fields is the order in the body.
//   - Topic and EventVersion are asked of the zero value: they must not look at
//     fields. PartitionKey has no default on purpose: whether events keep an
//     order, and with whom, is decided once for each type, in sight.
//   - encoding/json matches names in any case. Decode therefore refuses a body
//     with two fields that differ in case only; do not define such fields.
//   - Decode fills what the body has and leaves the rest: give it a zero value.
package events
