//lint:file-ignore U1000,SA5008 shapes that encoding/json has an opinion about, odd ones on purpose

package events

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"time"

	"github.com/google/uuid"
)

// named gives a test's event what it needs beside Base.
type named struct{}

func (named) Topic() Topic         { return NewTopic("a", "b", "c") }
func (named) PartitionKey() string { return "" }

// shape is a type of event.
type shape struct {
	name    string
	blank   func() IntegrationEvent
	planned bool // it is written and read without encoding/json, but for some fields
	never   bool // it cannot be encoded
}

func shapeOf[E any, P interface {
	*E
	IntegrationEvent
}](name string, planned bool,
) shape {
	return shape{name: name, blank: func() IntegrationEvent { return P(new(E)) }, planned: planned}
}

type (
	status  string
	level   int16
	flag    bool
	ratio   float32
	stamp   time.Time
	id      uuid.UUID
	shouted string // has a String method, which is not encoding/json's matter
)

func (s shouted) String() string { return strings.ToUpper(string(s)) }

type bareShape struct {
	Base
	named
}

type guideShape struct {
	Base
	named

	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	UserID       uuid.UUID `json:"userId"`
	Status       status    `json:"status"`
}

type scalarsShape struct {
	Base
	named

	Bool    bool
	Int     int
	Int8    int8
	Int16   int16
	Int32   int32
	Int64   int64
	Uint    uint
	Uint8   uint8
	Uint16  uint16
	Uint32  uint32
	Uint64  uint64
	Float32 float32
	Float64 float64
	String  string
	UUID    uuid.UUID
	Time    time.Time
	Status  status
	Level   level
	Flag    flag
	Ratio   ratio
	Shouted shouted
	Rune    rune
	Length  time.Duration

	hidden string
}

type omittedShape struct {
	Base
	named

	Bool    bool           `json:"bool,omitempty"`
	Int     int            `json:"int,omitempty"`
	Uint    uint8          `json:"uint,omitempty"`
	Float   float64        `json:"float,omitempty"`
	String  string         `json:"string,omitempty"`
	UUID    uuid.UUID      `json:"uuid,omitempty"`
	Time    time.Time      `json:"time,omitempty"` //nolint:modernize // it has no effect, which is the point
	Slice   []int          `json:"slice,omitempty"`
	Map     map[string]int `json:"map,omitempty"`
	Pointer *int           `json:"pointer,omitempty"`
	Any     any            `json:"any,omitempty"`
	Array   [0]int         `json:"array,omitempty"`
	ZBool   bool           `json:"zbool,omitzero"`
	ZInt    level          `json:"zint,omitzero"`
	ZUint   uint64         `json:"zuint,omitzero"`
	ZFloat  float32        `json:"zfloat,omitzero"`
	ZString status         `json:"zstring,omitzero"`
	ZUUID   uuid.UUID      `json:"zuuid,omitzero"`
	ZTime   time.Time      `json:"ztime,omitzero"`
	Both    float64        `json:"both,omitempty,omitzero"`
	Last    string         `json:",omitempty"`
}

type nestedShape struct {
	Base
	named

	Lines []struct {
		SKU      string  `json:"sku"`
		Quantity int     `json:"quantity"`
		Price    float64 `json:"price,omitempty"`
	} `json:"lines"`
	Address *struct {
		Street string `json:"street"`
		Zip    *int   `json:"zip"`
	} `json:"address"`
	Tags    map[string]string    `json:"tags"`
	Counts  map[int]uint8        `json:"counts"`
	ByID    map[uuid.UUID]string `json:"byId"`
	Any     any                  `json:"any"`
	Raw     json.RawMessage      `json:"raw"`
	Bytes   []byte               `json:"bytes"`
	Array   [3]string            `json:"array"`
	Number  json.Number          `json:"number"`
	Pointer *string              `json:"pointer"`
	Time    *time.Time           `json:"time"`
	UUID    *uuid.UUID           `json:"uuid"`
	NullID  uuid.NullUUID        `json:"nullId"`
	Deep    **int                `json:"deep"`
	Stamp   stamp                `json:"stamp"`
	ID      id                   `json:"id"`
	Big     *big.Int             `json:"big"`
	Complex struct{}             `json:"empty"`
}

type namesShape struct {
	Base
	named

	Skipped  string `json:"-"`
	Dash     string `json:"-,"` //nolint:staticcheck // it is allowed, and meant
	Default  string
	Dotted   string `json:"a.b-c_d"`
	Upper    string `json:"UPPER"`
	Long     string `json:"aNameThatIsLongerThanSixtyFourBytesAndStillIsANameThatAFieldMayHave"`
	OneSpace string `json:",omitempty"`
}

type oddNameShape struct {
	Base
	named

	HTML  string `json:"<&>"`
	Space string `json:"two words"`
	Quote string `json:"a\"b"` //nolint:staticcheck // what is malformed has its rules too
	Utf   string `json:"größe"`
}

type stringOptionShape struct {
	Base
	named

	Int   int     `json:"int,string"`
	Float float64 `json:"float,string"`
	Bool  *bool   `json:"bool,string"`
	Text  string  `json:"text,string"`
}

type laterOptionShape struct {
	Base
	named

	Time time.Time `json:"time,format:unix"`
}

// Audit is shared between events.
type Audit struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
}

type hiddenAudit struct {
	Reviewer string `json:"reviewer"`
	secret   string
	Audit
	Count int `json:"count"`
}

type embeddedShape struct {
	First string `json:"first"`
	Base
	named
	hiddenAudit

	Last string `json:"last"`
}

type inner struct {
	Tenant string `json:"tenant"`
	Base
	Region string `json:"region"`
}

type deepBaseShape struct {
	named
	inner

	Name string `json:"name"`
}

type embeddedPointerShape struct {
	Base
	named
	*Audit

	Name string `json:"name"`
}

type basePointerShape struct {
	*Base
	named

	Name string `json:"name"`
}

type taggedEmbeddedShape struct {
	Base
	named
	Audit `json:"audit"`
}

type taggedBaseShape struct {
	Base `json:"envelope"`
	named

	Name string `json:"name"`
}

type embeddedTextShape struct {
	Base
	named
	status
	Level

	Name string `json:"name"`
}

// Level is not a struct.
type Level int

type shadowShape struct {
	Base
	named

	Time  string `json:"timestamp"`
	Other string `json:"other"`
}

type caseShape struct {
	Base
	named

	Lower string `json:"name"`
	Upper string `json:"Name"`
}

type twiceShape struct {
	Base
	named

	Same string
	Two  string `json:"Same"`
}

type ambiguousShape struct {
	Base
	named
	oneBy
	otherBy
}

type oneBy struct{ By, One string }

type otherBy struct{ By, Other string }

// What has methods of its own.
type (
	byValue   struct{ s string }
	byPointer struct{ s string }
	textValue string
	textOnly  struct{ S string }
	failing   string
	panicking string
	zeroed    string
	upperCase string
)

func (b byValue) MarshalJSON() ([]byte, error)     { return []byte(` { "v" : "<` + "x" + `>" } `), nil }
func (b *byValue) UnmarshalJSON(data []byte) error { b.s += string(data); return nil }
func (b *byPointer) MarshalJSON() ([]byte, error)  { return []byte(`[1, "&"]`), nil }
func (b *byPointer) UnmarshalJSON(data []byte) error {
	if string(data) == "false" {
		return errors.New("refused")
	}
	b.s += string(data)
	return nil
}

func (t textValue) MarshalText() ([]byte, error)     { return []byte("text <" + string(t) + ">"), nil }
func (t *textValue) UnmarshalText(data []byte) error { *t += textValue(data); return nil }
func (t *textOnly) MarshalText() ([]byte, error)     { return []byte("t" + t.S), nil }

func (f failing) MarshalJSON() ([]byte, error) {
	if f == "plain" {
		return nil, errors.New("cannot")
	}
	return []byte(`"fine"`), nil
}

func (p panicking) MarshalJSON() ([]byte, error) {
	if p == "plain" {
		panic("out of order")
	}
	return []byte(`"fine"`), nil
}

func (p *panicking) UnmarshalJSON(data []byte) error {
	if string(data) == "1.5" {
		panic("out of order")
	}
	return nil
}
func (z zeroed) IsZero() bool { return z == "plain" }

func (u upperCase) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(u))), nil }

type methodsShape struct {
	Base
	named

	Before  string         `json:"before"`
	Value   byValue        `json:"value"`
	Pointer byPointer      `json:"pointer"`
	Values  []byPointer    `json:"values"`
	To      *byValue       `json:"to"`
	Text    textValue      `json:"text"`
	Only    textOnly       `json:"only"`
	Upper   upperCase      `json:"upper,omitempty"`
	Failing failing        `json:"failing"`
	Panics  panicking      `json:"panics"`
	Any     any            `json:"any"`
	Nested  map[string]any `json:"nested"`
	After   string         `json:"after"`
}

type zeroMethodShape struct {
	Base
	named

	Zeroed zeroed `json:"zeroed,omitzero"`
}

type zeroOtherShape struct {
	Base
	named

	Lines []int `json:"lines,omitzero"`
}

type channelShape struct {
	Base
	named

	Done chan int `json:"done"`
}

type promotedShape struct {
	Base
	named
	time.Time
}

type ownShape struct {
	Base
	named

	Name string
}

func (o *ownShape) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"own": o.Name})
}

func (o *ownShape) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &map[string]any{})
}

type wideShape struct {
	Base
	named

	A00, A01, A02, A03, A04, A05, A06, A07, A08, A09, A10, A11, A12, A13, A14, A15, A16, A17, A18, A19       int
	B00, B01, B02, B03, B04, B05, B06, B07, B08, B09, B10, B11, B12, B13, B14, B15, B16, B17, B18, B19       string
	C00, C01, C02, C03, C04, C05, C06, C07, C08, C09, C10, C11, C12, C13, C14, C15, C16, C17, C18, C19, Last bool
}

type fullShape struct {
	Base
	named

	A00, A01, A02, A03, A04, A05, A06, A07, A08, A09, A10, A11, A12, A13, A14, A15, A16, A17, A18 int
	B00, B01, B02, B03, B04, B05, B06, B07, B08, B09, B10, B11, B12, B13, B14, B15, B16, B17, B18 string
	C00, C01, C02, C03, C04, C05, C06, C07, C08, C09, C10, C11, C12, C13, C14, C15, C16, C17, C18 bool
}

func shapes() []shape {
	never := func(s shape) shape { s.never = true; return s }
	withBase := shape{name: "pointer to Base, filled", blank: func() IntegrationEvent { return &basePointerShape{Base: &Base{}} }}
	return []shape{
		shapeOf[guideShape]("the guide's", true),
		shapeOf[bareShape]("nothing of its own", true),
		shapeOf[scalarsShape]("scalars", true),
		shapeOf[omittedShape]("omitted when empty", true),
		shapeOf[nestedShape]("nested", true),
		shapeOf[namesShape]("names", true),
		shapeOf[oddNameShape]("odd names", false),
		shapeOf[stringOptionShape]("string option", false),
		shapeOf[laterOptionShape]("option that is not known", false),
		shapeOf[embeddedShape]("embedded structs", true),
		shapeOf[deepBaseShape]("Base below another struct", true),
		shapeOf[embeddedPointerShape]("embedded pointer", false),
		never(shapeOf[basePointerShape]("pointer to Base", false)),
		withBase,
		shapeOf[taggedEmbeddedShape]("embedded struct with a tag", false),
		shapeOf[taggedBaseShape]("Base with a tag", false),
		shapeOf[embeddedTextShape]("embedded values", false),
		shapeOf[shadowShape]("shadows the envelope", false),
		shapeOf[caseShape]("names that differ in case", false),
		shapeOf[twiceShape]("one name twice", false),
		shapeOf[ambiguousShape]("ambiguous names", false),
		shapeOf[methodsShape]("methods", true),
		shapeOf[zeroMethodShape]("IsZero", false),
		shapeOf[zeroOtherShape]("omitzero slice", false),
		never(shapeOf[channelShape]("channel", true)),
		never(shapeOf[promotedShape]("promoted MarshalJSON", false)),
		shapeOf[ownShape]("MarshalJSON of its own", false),
		shapeOf[wideShape]("too many fields", false),
		shapeOf[fullShape]("as many fields as go", true),
	}
}
