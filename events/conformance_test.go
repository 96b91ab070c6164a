package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outcome is what a call came to: a result, an error, or a panic of one of the type's own methods.
type outcome struct {
	body     string
	failed   bool
	panicked any
}

// attempt returns what f comes to, and its error.
func attempt(f func() ([]byte, error)) (o outcome, err error) {
	defer func() {
		if o.panicked = recover(); o.panicked != nil {
			o.body = ""
		}
	}()
	body, err := f()
	if err != nil {
		return outcome{failed: true}, err
	}
	return outcome{body: string(body)}, nil
}

// encodePlainly is what Encode says it does, by encoding/json alone.
func encodePlainly(e IntegrationEvent) ([]byte, error) {
	if _, err := envelope(e); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if body[0] != '{' {
		return nil, errors.New("not an object")
	}
	return body, nil
}

// decodePlainly is what Decode says it does, by encoding/json alone.
func decodePlainly(data []byte, e IntegrationEvent) error {
	if body := bytes.TrimLeft(data, " \t\r\n"); len(body) == 0 || body[0] != '{' {
		return errors.New("not an object")
	}
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	if !json.Valid(data) {
		return errors.New("not JSON")
	}
	var keys []string
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	for depth := 0; ; {
		before := dec.InputOffset()
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if d, ok := token.(json.Delim); ok {
			depth += map[json.Delim]int{'{': 1, '[': 1, '}': -1, ']': -1}[d]
		}
		// A key is what a colon follows.
		if key, ok := token.(string); ok && depth == 1 && bytes.HasPrefix(bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n"), []byte(":")) {
			for _, k := range keys {
				if strings.EqualFold(k, key) {
					return fmt.Errorf("%q twice, from %d on", key, before)
				}
			}
			keys = append(keys, key)
		}
	}
	if err := json.Unmarshal(data, e); err != nil {
		return err
	}
	b, err := envelope(e)
	if err != nil {
		return err
	}
	return toUTC(&b.Timestamp)
}

// sameEncoding fails unless Encode does with e what encoding/json does.
func sameEncoding(t *testing.T, e IntegrationEvent) (body []byte, ok bool) {
	t.Helper()
	want, wantErr := attempt(func() ([]byte, error) { return encodePlainly(e) })
	got, err := attempt(func() ([]byte, error) { return Encode(e) })
	require.Equal(t, want, got, "%T: %v, %v", e, wantErr, err)
	return []byte(got.body), !got.failed && got.panicked == nil
}

// sameDecoding fails unless Decode does with body what encoding/json does.
func sameDecoding(t *testing.T, s shape, body []byte) {
	t.Helper()
	want, wantErr := s.blank(), error(nil)
	wantOutcome, _ := attempt(func() ([]byte, error) { wantErr = decodePlainly(body, want); return nil, wantErr })
	got, err := s.blank(), error(nil)
	before := bytes.Clone(body)
	gotOutcome, _ := attempt(func() ([]byte, error) { err = Decode(body, got); return nil, err })
	require.Equal(t, wantOutcome, gotOutcome, "%s: %v, %v: %q", s.name, wantErr, err, body)
	require.Equal(t, before, body, "the body is borrowed")
	if wantErr == nil && wantOutcome.panicked == nil {
		clear(body) // nothing of it may have been kept
		require.Equal(t, want, got, "%s: %q", s.name, before)
		copy(body, before)
	}
}

// source makes values of a fuzzer's bytes.
type source struct{ data []byte }

func (s *source) next() byte {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b
}

func (s *source) uint64() (n uint64) {
	for range 8 {
		n = n<<8 | uint64(s.next())
	}
	return n
}

func (s *source) text() string {
	// What has its own rules somewhere, and the fuzzer's own bytes.
	special := []string{
		"", "plain", "<a href=\"x\">&</a>", `back\slash "quoted"`, "tab\t line\n return\r", "\b\f\x00\x1f\x7f", "ü€😀", "\u2028\u2029", "line\u2028", "\u2029",
		"\xff", "half \xe2\x82", "\ufffd", "\xed\xa0\x80", strings.Repeat("long ", 40), "null", "1", "é\"\xc3",
	}
	n := int(s.next())
	if n < len(special) {
		return special[n]
	}
	n = min(n-len(special), len(s.data))
	text := string(s.data[:n])
	s.data = s.data[n:]
	return text
}

// fill sets v, and what it leads to, to what the source says.
func (s *source) fill(v reflect.Value, depth int) {
	if !v.CanSet() || depth > 4 {
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		if s.next() == 5 {
			*p = time.Time{}.In(time.FixedZone("", 3600)) // zero, but not the zero value
			return
		}
		sec := int64(s.uint64() % 4e11)
		*p = time.Unix(sec-1e11, int64(s.next())*4e6).In(time.FixedZone("", int(int8(s.next()))*713))
		if s.next() < 200 {
			*p = p.UTC()
		}
		return
	case *uuid.UUID:
		for i := range p {
			p[i] = s.next()
		}
		return
	case *json.Number:
		*p = json.Number([]string{"", "1", "-1.5e3", "x", "01"}[s.next()%5])
		return
	case *json.RawMessage:
		*p = json.RawMessage([]string{"", "{}", "[1, 2]", `{"<": "&"}`, "{"}[s.next()%5])
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(s.next()&1 == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(s.uint64()) >> (s.next() % 64))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(s.uint64() >> (s.next() % 64))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(s.float())
	case reflect.String:
		v.SetString(s.text())
	case reflect.Struct:
		for _, field := range v.Fields() {
			s.fill(field, depth)
		}
	case reflect.Pointer:
		if s.next()&1 == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			s.fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		if n := int(s.next() % 4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
			for i := range n - 1 {
				s.fill(v.Index(i), depth+1)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			s.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		if n := int(s.next() % 4); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n - 1 {
				key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				s.fill(key, depth+1)
				s.fill(value, depth+1)
				v.SetMapIndex(key, value)
			}
		}
	case reflect.Interface:
		if v.NumMethod() == 0 {
			if x := []any{nil, true, 1.5, "<x>", []any{nil, "y"}, map[string]any{"b": 1, "a": "\xff"}, make(chan int), func() {}, math.NaN()}[s.next()%9]; x != nil {
				v.Set(reflect.ValueOf(x))
			}
		}
	default:
	}
}

func (s *source) float() float64 {
	special := []float64{
		0, math.Copysign(0, -1), 1, -1.5, 0.1, 100, 1e20, 1e21, 123456789012345678, 1e-5, 1e-6, 9.99e-7, 1e-7, 1e300, 1e-300,
		math.MaxFloat32, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1),
	}
	if n := int(s.next()); n < len(special) {
		return special[n]
	}
	return math.Float64frombits(s.uint64())
}

// values are sources for a table: all zero, all alike, and some that differ.
func values() map[string][]byte {
	all := map[string][]byte{"zero": nil}
	for i := range 24 {
		all["each "+strconv.Itoa(i)] = bytes.Repeat([]byte{byte(i)}, 4000)
	}
	for seed := range 24 {
		b := make([]byte, 2000)
		x := uint32(seed + 1)
		for i := range b {
			x = x*1664525 + 1013904223
			b[i] = byte(x >> 24)
			if seed%2 == 0 {
				b[i] &= 31
			}
		}
		all["seed "+strconv.Itoa(seed)] = b
	}
	return all
}

func TestEncodesAsEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			written := 0
			for name, data := range values() {
				e := s.blank()
				(&source{data}).fill(reflect.ValueOf(e).Elem(), 0)
				body, ok := sameEncoding(t, e)
				if !ok {
					continue
				}
				written++
				sameDecoding(t, s, body)
				if written%16 != 1 {
					continue
				}
				for _, variant := range variants(body) {
					sameDecoding(t, s, variant)
				}
				if t.Failed() {
					t.Fatal(name)
				}
			}
			assert.True(t, written > 0 || s.never, "nothing could be compared")
		})
	}
}

// variants are bodies that are nearly this one.
func variants(body []byte) [][]byte {
	text := string(body)
	all := [][]byte{body, []byte(" \n" + strings.ReplaceAll(text, `":`, "\" :\t") + "\r\n ")}
	for _, r := range [][2]string{
		{`"`, `'`},
		{`:`, `::`},
		{`,`, `,,`},
		{`}`, `,}`},
		{`}`, `}}`},
		{`{`, `{{`},
		{`true`, `True`},
		{`-`, `--`},
		{`-`, ``},
		{`1`, `01`},
		{`.`, `.e`},
		{`"e`, `"E`},
		{`"event`, `"EVENT`},
		{`":"`, `":null,"x":"`},
		{`":"`, `":1,"x":"`},
		{`":"`, `":"\u00`},
		{`"n`, `"\u006e`},
		{`{`, `{"added":[{"a":1,"A":2}],"Other":{"x":[[]]},`},
		{`{`, `{"a":1,"A":2,`},
		{`{`, `{"ſ":1,"S":2,`},
		{`{`, `{"K":1,"k":2,`},
		{`T`, `t`},
		{`Z"`, `+01:00"`},
		{`Z"`, `"`},
		{`0`, `1e2`},
		{`0`, `"0"`},
		{`a`, "\xff"},
		{`a`, "\x00"},
		{`a`, `\`},
		{`a`, `é`},
		{`":`, `":[`},
		{`":`, `":{"x":`},
	} {
		all = append(all, []byte(strings.Replace(text, r[0], r[1], 1)), []byte(strings.ReplaceAll(text, r[0], r[1])))
		if i := strings.LastIndex(text, r[0]); i >= 0 {
			all = append(all, []byte(text[:i]+r[1]+text[i+len(r[0]):]))
		}
	}
	for n := 1; n < len(text); n += 1 + len(text)/16 {
		all = append(all, body[:n:n])
	}
	return all
}

// Each field with each kind of value, right or wrong.
func TestDecodesAsEncodingJSON(t *testing.T) {
	t.Parallel()
	wrong := []string{
		`null`, `true`, `false`, `0`, `-0`, `-1`, `1.0`, `1.5`, `1e2`, `1E-7`, `255`, `256`, `65536`, `4294967296`, `9223372036854775807`, `9223372036854775808`,
		`18446744073709551616`, `1e400`, `1e39`, `-`, `01`, `1.`, `.5`, `1e`, `+1`, `nul`, `nullx`, `tru`, `""`, `"x"`, `"é"`, `"\u00e9"`, `"\ud83d\ude00"`, `"\ud800"`, `"\udc00x"`, `"\x"`,
		`"\u12"`, `"a\/b\b\f"`, "\"\t\"", "\"\x7f\"", `"1"`, `"null"`, `"true"`, `{}`, `[]`, `[null]`, `[1,"a",{}]`, `{"a":1}`, `{"a":1,"a":2}`, `{"A":{}}`, `[1,]`, `{"a"}`, `{"a":}`, `{,}`, `[`, `"`,
		`"AQID"`, `"2025-11-30T10:30:00Z"`, `"2025-11-30T10:30:00.123456789+02:00"`, `"2025-11-30t10:30:00z"`, `"2025-11-30T24:00:00Z"`, `"2025-11-30T1:30:00Z"`, `"2025-11-30T10:30:00,5Z"`,
		`"2025-11-30T10:30:0\u0030Z"`, `"3fa85f64-5717-4562-b3fc-2c963f66afa6"`, `"3FA85F6457174562B3FC2C963F66AFA6"`, `"{3fa85f64-5717-4562-b3fc-2c963f66afa6}"`,
		`"urn:uuid:3fa85f64-5717-4562-b3fc-2c963f66afa6"`, `"3fa85f64-5717-4562-b3fc-2c963f66afaé"`, `"\u0033fa85f64-5717-4562-b3fc-2c963f66afa6"`,
		strings.Repeat("[", 99) + strings.Repeat("]", 99), strings.Repeat("[", 200) + strings.Repeat("]", 200), strings.Repeat(`{"a":`, 150) + "1" + strings.Repeat("}", 150),
	}
	tooDeep := strings.Repeat("[", 10001) + strings.Repeat("]", 10001)
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			keys := append(keysOf(t, s), "unknown", "-", "eventid", "EVENTID", "ſourceService", "é")
			if len(keys) > 40 {
				keys = keys[len(keys)-20:] // they are alike
			}
			for _, key := range []string{"unknown", "any", "eventType"} {
				sameDecoding(t, s, fmt.Appendf(nil, `{"%s":%s}`, key, tooDeep))
			}
			for _, key := range keys {
				for _, value := range wrong {
					sameDecoding(t, s, fmt.Appendf(nil, `{"%s":%s}`, key, value))
					sameDecoding(t, s, fmt.Appendf(nil, `{"sourceService":"x", "%s":%s, "causationId":"y" }`, key, value))
				}
			}
		})
	}
}

// keysOf returns the names in the JSON of a shape's events.
func keysOf(t *testing.T, s shape) []string {
	t.Helper()
	keys := make(map[string]bool)
	for _, data := range values() {
		e := s.blank()
		(&source{data}).fill(reflect.ValueOf(e).Elem(), 0)
		var fields map[string]any
		if body, err := attempt(func() ([]byte, error) { return encodePlainly(e) }); err == nil && body.panicked == nil {
			require.NoError(t, json.Unmarshal([]byte(body.body), &fields))
		}
		for k := range fields {
			keys[k] = true
		}
	}
	var all []string
	for k := range keys {
		all = append(all, k)
	}
	return all
}

// What is fast must not become slow, nor what is doubtful fast, without notice.
func TestPlans(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		p, _ := planOf(s.blank())
		assert.Equal(t, s.planned, p != nil, s.name)
	}
}

func FuzzEncodeAsEncodingJSON(f *testing.F) {
	all := shapes()
	for i := range all {
		f.Add(uint8(i), []byte("\x10\x01 some text, \x05\x03\x02\xff\xff\xff\xff\xff\xff\xff\xff"))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		s := all[int(which)%len(all)]
		e := s.blank()
		(&source{data}).fill(reflect.ValueOf(e).Elem(), 0)
		if body, ok := sameEncoding(t, e); ok {
			sameDecoding(t, s, body)
		}
	})
}

func FuzzDecodeAsEncodingJSON(f *testing.F) {
	all := shapes()
	for i, s := range all {
		f.Add(uint8(i), []byte("{}"))
		e := s.blank()
		(&source{bytes.Repeat([]byte{byte(i), 1}, 500)}).fill(reflect.ValueOf(e).Elem(), 0)
		if body, err := attempt(func() ([]byte, error) { return encodePlainly(e) }); err == nil {
			f.Add(uint8(i), []byte(body.body))
		}
	}
	f.Add(uint8(0), []byte(`{"eventId":"3FA85F64-5717-4562-B3FC-2C963F66AFA6","unknown":{"a":[1,-2.5e+3,"\u00e9\\"]},"Timestamp":"2025-11-30T10:30:00.1234567+00:00"}`))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		sameDecoding(t, all[int(which)%len(all)], body)
	})
}
