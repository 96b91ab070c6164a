package messaging

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testPassword = "hunter2-top-secret"

// assertHidden looks for the password as text, in hexadecimal and as numbers.
func assertHidden(t *testing.T, out string) {
	t.Helper()
	for _, form := range []string{
		testPassword,
		fmt.Sprintf("%x", testPassword), fmt.Sprintf("%X", testPassword), fmt.Sprintf("% x", testPassword),
		strings.Trim(fmt.Sprintf("%d", []byte(testPassword)), "[]"),
		fmt.Sprintf("%U", []rune(testPassword))[1:20],
	} {
		assert.NotContains(t, out, form)
	}
}

func secretConfig() Config {
	c := DefaultConfig()
	c.SecurityProtocol = "SASL_SSL"
	c.SASLMechanism = "PLAIN"
	c.SASLUsername = "alice"
	c.SASLPassword = testPassword
	c.SSLCertificateLocation = "/c.pem"
	c.SSLKeyLocation = "/k.pem"
	c.SSLKeyPassword = testPassword
	return c
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	c := secretConfig()
	s := Secret(testPassword)
	values := map[string]any{
		"secret": s, "pointer": &s, "slice": []Secret{s}, "map": map[Secret]Secret{s: s},
		"config": c, "config pointer": &c, "in an interface": []any{c},
		"in a struct": struct{ C Config }{c},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%t", "%U", "%c", "%b", "%T", "%5.3s", "%!"} {
			t.Run(name+" "+verb, func(t *testing.T) {
				t.Parallel()
				assertHidden(t, fmt.Sprintf(verb, v))
			})
		}
	}
	assert.Contains(t, fmt.Sprintf("%+v", c), "SASLPassword:***")
	assert.Equal(t, `messaging.Secret("***")`, fmt.Sprintf("%#v", s))
	assert.Equal(t, `"***"`, fmt.Sprintf("%q", s))
	assert.Equal(t, `messaging.Secret("")`, fmt.Sprintf("%#v", Secret("")))
	assert.Empty(t, Secret("").String(), "one sees that it is not set")
	assert.Equal(t, testPassword, string(s))
}

func TestSecretIsNeverEncoded(t *testing.T) {
	t.Parallel()
	c := secretConfig()
	b, err := json.Marshal(c) //nolint:musttag // whoever does so all the same
	require.NoError(t, err)
	assertHidden(t, string(b))
	assert.Contains(t, string(b), `"SASLPassword":"***"`)

	b, err = xml.Marshal(c.SASLPassword)
	require.NoError(t, err)
	assertHidden(t, string(b))
	assert.Contains(t, string(b), "***")
}

func TestSecretIsNeverLogged(t *testing.T) {
	t.Parallel()
	c := secretConfig()
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			slog.New(handler(&b)).Info("settings", "config", c, "pointer", &c, "password", c.SASLPassword, "group", slog.GroupValue(slog.Any("p", c.SASLPassword)))
			assertHidden(t, b.String())
			assert.Contains(t, b.String(), "***")
		})
	}
}

func TestSecretIsNotInErrors(t *testing.T) {
	t.Parallel()
	c := secretConfig()
	assertHidden(t, fmt.Errorf("with %v and %q: %w", c, c.SASLPassword, errors.New("x")).Error())

	c.SecurityProtocol = "PLAINTEXT" // every setting of security is now contradictory
	assertHidden(t, c.Validate().Error())

	c = secretConfig()
	c.SASLPasswordFile = "/also"
	assertHidden(t, c.Validate().Error())

	c = secretConfig()
	c.SASLPassword = testPassword + "\x00"
	assertHidden(t, c.Validate().Error())

	c.SASLMechanism = "SCRAM-SHA-256" // U+0007 is among what RFC 4013 prohibits
	c.SSLCertificateLocation = ""
	c.SASLPassword = testPassword + "\a"
	_, err := c.clusterParams(nil)
	require.ErrorContains(t, err, "RFC 4013")
	assertHidden(t, err.Error())
}

func TestConnectionSettingsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	for _, mechanism := range saslMechanisms() {
		c := secretConfig()
		c.SASLMechanism = mechanism
		c.SSLCertificateLocation, c.SSLKeyLocation, c.SSLKeyPassword = "", "", ""
		p, err := c.clusterParams(nil)
		require.NoError(t, err)
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			assertHidden(t, fmt.Sprintf(verb, p))
			assertHidden(t, fmt.Sprintf(verb, p.Wire))
		}
	}
}

func TestPublishersAndSubscribersArePrintedWithoutSecrets(t *testing.T) {
	t.Parallel()
	c := secretConfig()
	c.SSLCertificateLocation, c.SSLKeyLocation, c.SSLKeyPassword = "", "", ""
	p, err := NewKafkaPublisher(c)
	require.NoError(t, err)
	require.NoError(t, p.Close())
	var mux Mux
	HandleRecord(&mux, "x", func(context.Context, Record) error { return nil })
	sub, err := NewSubscriber(c, "group", &mux)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		assertHidden(t, fmt.Sprintf(verb, p))
		assertHidden(t, fmt.Sprintf(verb, sub))
	}
}
