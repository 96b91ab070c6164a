package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// maxBody is the largest body that is read, in bytes.
const maxBody = 64 << 10

// decode reads the request's JSON object into v. Unknown fields are refused:
// a misspelt one would be lost without a word.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	contentType := r.Header.Get("Content-Type")
	mediaType, params, err := mime.ParseMediaType(contentType)
	charset := params["charset"]
	if err != nil || mediaType != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		w.Header().Set("Accept-Post", "application/json")
		return &httpError{
			status: http.StatusUnsupportedMediaType,
			detail: fmt.Sprintf("The Content-Type is %q: send application/json.", contentType),
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &httpError{
			status: http.StatusRequestEntityTooLarge,
			detail: fmt.Sprintf("The body is over %d bytes.", tooLarge.Limit),
		}
	}
	if err != nil {
		return badRequest("The body could not be read to its end.")
	}
	return unmarshal(body, v)
}

func unmarshal(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return badRequest("The body is empty: send a JSON object.")
	}
	if !utf8.Valid(body) {
		return badRequest("The body is not valid UTF-8.")
	}
	if first := bytes.TrimSpace(body)[0]; json.Valid(body) && first != '{' {
		return badRequest("The body is not a JSON object.")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
	)
	switch {
	case err == nil:
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return badRequest("The body goes on after the JSON object, at " + place(body, dec.InputOffset()) + ".")
		}
		return nil
	case errors.As(err, &syntax):
		return badRequest(fmt.Sprintf("The body is not JSON: %v, at %s.", syntax, place(body, syntax.Offset)))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("The body is not JSON: it ends too early, at " + place(body, int64(len(body))) + ".")
	case errors.As(err, &typed):
		return badField(typed.Field, fmt.Sprintf("must be %s, not a JSON %s (%s)", jsonType(typed.Type.String()), typed.Value, place(body, typed.Offset)))
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return badField(strings.Trim(name, `"`), "is not a field of an item")
	}
	return badRequest("The body can't be read: " + strings.TrimPrefix(err.Error(), "json: ") + ".")
}

// place is where the byte before the offset stands, counted from 1.
func place(body []byte, offset int64) string {
	before := body[:min(max(offset, 0), int64(len(body)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("line %d, column %d", line, max(column, 1))
}

func jsonType(goType string) string {
	switch {
	case strings.HasPrefix(goType, "api."):
		return "an object"
	case strings.Contains(goType, "int"):
		return "a number"
	default:
		return "a string"
	}
}
