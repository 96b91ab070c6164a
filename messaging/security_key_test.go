package messaging

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The files in testdata/keys hold one key and were written by OpenSSL 3.0; their names say how.
func readTestKey(t testing.TB, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(os.DirFS("testdata"), "keys/"+name+".pem")
	require.NoError(t, err)
	return b
}

func parseKey(t *testing.T, file []byte) *ecdsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(file)
	require.NotNil(t, block)
	var key crypto.PrivateKey
	var err error
	if block.Type == "EC PRIVATE KEY" {
		key, err = x509.ParseECPrivateKey(block.Bytes)
	} else {
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	require.NoError(t, err)
	return key.(*ecdsa.PrivateKey)
}

func TestOpenKey(t *testing.T) {
	t.Parallel()
	want := parseKey(t, readTestKey(t, "pkcs8-plain"))
	for _, name := range []string{"pkcs8-plain", "legacy-plain", "legacy-aes256", "pkcs8-aes256-sha256", "pkcs8-aes128-sha1", "pkcs8-aes192-sha512"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := append([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), readTestKey(t, name)...)
			b, err := openKey(file, "open-sesame")
			require.NoError(t, err)
			assert.True(t, want.Equal(parseKey(t, b)))
		})
	}
}

func TestOpenKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ file, password, want string }{
		{"pkcs8-aes256-sha256", "", "set SslKeyPassword"},
		{"legacy-aes256", "", "set SslKeyPassword"},
		{"pkcs8-aes256-sha256", "wrong-word", "does not open"},
		{"legacy-aes256", "wrong-word", "does not open"},
		{"pkcs8-scrypt", "open-sesame", "not supported (key derivation 1.3.6.1.4.1.11591.4.11): write it anew with `openssl"},
		{"pkcs8-des3", "open-sesame", "not supported (cipher 1.2.840.113549.3.7)"},
	} {
		t.Run(tc.file+" "+tc.password, func(t *testing.T) {
			t.Parallel()
			_, err := openKey(readTestKey(t, tc.file), Secret(tc.password))
			require.ErrorContains(t, err, tc.want)
			if tc.password != "" {
				assert.NotContains(t, err.Error(), tc.password)
			}
		})
	}
	_, err := openKey([]byte("nothing"), "")
	require.ErrorIs(t, err, errNoKey)
}

func FuzzOpenKey(f *testing.F) {
	for _, name := range []string{"legacy-aes256", "pkcs8-aes256-sha256", "pkcs8-scrypt"} {
		block, _ := pem.Decode(readTestKey(f, name))
		f.Add(block.Type, block.Bytes)
	}
	f.Fuzz(func(t *testing.T, kind string, der []byte) {
		if bytes.Contains(der, []byte{0x02, 0x04}) || bytes.Contains(der, []byte{0x02, 0x03}) {
			return // perhaps millions of iterations: right, and slow
		}
		file := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if b, err := openKey(file, "open-sesame"); err == nil {
			_, _ = tls.X509KeyPair(nil, b)
		}
	})
}
