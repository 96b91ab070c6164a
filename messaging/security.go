package messaging

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// dialTimeout is for connecting and all handshakes; another broker can be tried.
const dialTimeout = 5 * time.Second

// clusterParams is what the engines need of c, which is valid, to connect. It
// reads the files that c names, so that a wrong one is known at once.
func (c Config) clusterParams(log *slog.Logger) (cluster.Params, error) {
	p := cluster.Params{
		Seeds:          splitServers(c.BootstrapServers),
		Wire:           wire.Params{ClientID: c.ClientID, TLS: nil, SASL: nil, DialTimeout: dialTimeout, Dial: nil},
		RequestTimeout: c.RequestTimeout,
		Logger:         log,
		Credential:     c.credential(),
	}
	if c.usesTLS() {
		cfg, err := c.tlsConfig(log)
		if err != nil {
			return cluster.Params{}, err
		}
		p.Wire.TLS = cfg
	}
	if c.usesSASL() {
		cred := &credentials{
			mechanism: c.SASLMechanism, username: c.SASLUsername,
			password: c.SASLPassword, file: c.SASLPasswordFile,
		}
		if _, err := cred.mechanismNow(); err != nil {
			return cluster.Params{}, err
		}
		p.Wire.SASL = cred
	}
	return p, nil
}

// credentials is a sasl.Mechanism that looks up the password whenever a
// connection authenticates. It is used by pointer, so that no dump shows it.
type credentials struct {
	mechanism string
	username  string
	password  Secret
	file      string // read in place of password
}

func (c *credentials) Name() string { return c.mechanism }

func (c *credentials) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m, err := c.mechanismNow()
	if err != nil {
		return nil, nil, err
	}
	return m.Start(ctx)
}

func (c *credentials) mechanismNow() (sasl.Mechanism, error) {
	password, err := c.passwordNow()
	if err != nil {
		return nil, err
	}
	var algorithm scram.Algorithm
	switch c.mechanism {
	case "PLAIN":
		return plain.Mechanism{Username: c.username, Password: string(password)}, nil
	case "SCRAM-SHA-256":
		algorithm = scram.SHA256
	case "SCRAM-SHA-512":
		algorithm = scram.SHA512
	default:
		return nil, &SettingError{Setting: "SaslMechanism", Value: c.mechanism, Problem: "use one of " + strings.Join(saslMechanisms(), ", ")}
	}
	m, err := scram.Mechanism(algorithm, c.username, string(password))
	if err != nil { // its text quotes from what it was given
		return nil, &SettingError{Setting: "SaslPassword", Problem: "it, or SaslUsername, holds a character that SCRAM does not allow (RFC 4013)"}
	}
	return m, nil
}

func (c *credentials) passwordNow() (Secret, error) {
	if c.file == "" {
		return c.password, nil
	}
	const name = "SaslPasswordFile"
	b, err := os.ReadFile(c.file)
	if err != nil {
		return "", unreadable(name, c.file, err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case password == "":
		return "", &SettingError{Setting: name, Value: c.file, Problem: "the file is empty: write the password into it"}
	case !plainText(password):
		return "", &SettingError{Setting: name, Value: c.file, Problem: "what the file holds is not UTF-8, or has a zero byte: write the password alone into it"}
	}
	return Secret(password), nil
}

// unreadable drops the path from err, which the setting's value shows already.
func unreadable(setting, path string, err error) *SettingError {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err
	}
	return &SettingError{Setting: setting, Value: path, Problem: "can't read the file: " + err.Error()}
}
