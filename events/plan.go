package events

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// plan is how the events of one type are written and read: what encoding/json
// would find out about the type, found out once. It covers what events are made
// of; a type with anything else about which there could be a doubt has none, and
// encoding/json alone writes and reads it.
type plan struct {
	groups []group
	fields []field
	byName map[string]int // a field's index by its folded name
	hints  [4]string      // what the event's type says of eventType, eventVersion and sourceService; the first is empty
	usual  string         // those three in the JSON, if they are as the type says; empty where that is not known
}

// group is a struct whose fields stand flat in the event: the event itself, or one that it embeds.
type group struct {
	path     []int // from the event; empty for itself
	base     bool  // it is Base
	from, to int   // its fields in plan.fields
}

type field struct {
	name  string // in the JSON
	key   string // ,"name":
	group int    // in plan.groups
	index int    // in the group's struct
	kind  kind
	bits  int
	hint  int  // in plan.hints
	empty bool // omitempty
	zero  bool // omitzero
}

type kind uint8

const (
	other kind = iota // encoding/json writes and reads the value
	text
	boolean
	integer
	unsigned
	float
	identity // uuid.UUID
	instant  // time.Time
)

const (
	mostFields = 64 // with one bit each
	mostGroups = 8
)

// plans has the plan of each type, by the type's address, which is found faster than the type. As with encoding/json's
// own cache, it holds nothing but what follows from the types. The map is replaced, not changed, when there is a new one.
//
//nolint:gochecknoglobals // as the comment says
var (
	plans     atomic.Pointer[map[uintptr]knownPlan]
	plansGrow sync.Mutex
)

type knownPlan struct {
	of   reflect.Type
	plan *plan // nil: the type has none
}

// planOf returns the plan for e and the struct that e points to; nil where encoding/json has to do it all.
func planOf(e IntegrationEvent) (*plan, reflect.Value) {
	v := reflect.ValueOf(e)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, reflect.Value{}
	}
	v = v.Elem()
	t := v.Type()
	address := reflect.ValueOf(t).Pointer()
	if known := plans.Load(); known != nil {
		if k, ok := (*known)[address]; ok && k.of == t {
			return k.plan, v
		}
	}
	p := newPlan(t, e)
	plansGrow.Lock()
	defer plansGrow.Unlock()
	grown := map[uintptr]knownPlan{}
	if known := plans.Load(); known != nil {
		maps.Copy(grown, *known)
	}
	grown[address] = knownPlan{of: t, plan: p}
	plans.Store(&grown)
	return p, v
}

func newPlan(t reflect.Type, e IntegrationEvent) *plan {
	p := &plan{byName: make(map[string]int)}
	if ownJSON(t) || !p.addStruct(t, nil) || len(p.fields) > mostFields || len(p.groups) > mostGroups {
		return nil
	}
	if topic, version, err := constants(e); err == nil {
		p.hints = [4]string{"", topic.Event, version, topic.Service}
		if usual, err := appendKind(nil, topic.Event, version, topic.Service); err == nil {
			p.usual = string(usual)
		}
	}
	return p
}

// addStruct adds the fields of t, in encoding/json's order. It reports whether it knows what to do with each of them.
func (p *plan) addStruct(t reflect.Type, path []int) bool {
	g := group{path: path, base: t == reflect.TypeFor[Base](), from: len(p.fields)}
	flush := func() {
		if g.to = len(p.fields); g.to > g.from {
			p.groups = append(p.groups, g)
		}
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("json")
		if tag == "-" || !sf.IsExported() && !sf.Anonymous {
			continue
		}
		if sf.Anonymous {
			// Embedded pointers, and what a tag makes a field of its own, are rare.
			if sf.Type.Kind() != reflect.Struct || tag != "" || ownJSON(sf.Type) {
				return false
			}
			flush()
			if !p.addStruct(sf.Type, append(slices.Clip(path), i)) {
				return false
			}
			g.from = len(p.fields)
			continue
		}
		f, ok := newField(&sf, tag)
		if !ok {
			return false
		}
		folded := strings.ToLower(f.name)
		if _, taken := p.byName[folded]; taken {
			return false // there are rules for which field it is; they are encoding/json's
		}
		f.group, f.index = len(p.groups), i
		if g.base {
			f.hint = hintFor(f.name)
		}
		p.byName[folded] = len(p.fields)
		p.fields = append(p.fields, f)
	}
	flush()
	return true
}

// hintFor returns the index in plan.hints for a field of Base.
func hintFor(name string) int {
	switch name {
	case "eventType":
		return 1
	case "eventVersion":
		return 2
	case "sourceService":
		return 3
	default:
		return 0
	}
}

// of returns the group's struct in the event v.
func (g *group) of(v reflect.Value) reflect.Value {
	for _, i := range g.path {
		v = v.Field(i)
	}
	return v
}

// newField reports false for what it is not sure to do as encoding/json.
func newField(sf *reflect.StructField, tag string) (field, bool) {
	name, options, _ := strings.Cut(tag, ",")
	if name == "" {
		name = sf.Name
	}
	if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") != "" {
		return field{}, false
	}
	f := field{name: name, key: `,"` + name + `":`, kind: kindOf(sf.Type)}
	if f.kind == integer || f.kind == unsigned || f.kind == float {
		f.bits = sf.Type.Bits()
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "":
		case "omitempty":
			f.empty = true
		case "omitzero":
			_, own := reflect.PointerTo(sf.Type).MethodByName("IsZero")
			if f.kind == other || own && f.kind != instant {
				return field{}, false
			}
			f.zero = true
		default: // string, and what later versions may bring
			return field{}, false
		}
	}
	return f, true
}

func kindOf(t reflect.Type) kind {
	switch t {
	case reflect.TypeFor[uuid.UUID]():
		return identity
	case reflect.TypeFor[time.Time]():
		return instant
	case reflect.TypeFor[json.Number]():
		return other
	}
	if ownJSON(t) {
		return other
	}
	switch t.Kind() {
	case reflect.String:
		return text
	case reflect.Bool:
		return boolean
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return unsigned
	case reflect.Float32, reflect.Float64:
		return float
	default:
		return other
	}
}

// ownJSON reports whether t, or a pointer to it, has a method by which encoding/json, now or backed by version 2, would
// write or read it.
func ownJSON(t reflect.Type) bool {
	t = reflect.PointerTo(t)
	if slices.ContainsFunc([]reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](), reflect.TypeFor[encoding.TextAppender](),
	}, t.Implements) {
		return true
	}
	_, to := t.MethodByName("MarshalJSONTo")
	_, from := t.MethodByName("UnmarshalJSONFrom")
	return to || from
}
