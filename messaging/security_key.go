package messaging

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PKCS #5 has it as the default
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"strings"
)

var (
	errNoKey       = errors.New("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
	errKeyLocked   = errors.New("the key is encrypted: set SslKeyPassword")
	errKeyPassword = errors.New("SslKeyPassword does not open the key")
)

// openKey returns the private key in a PEM file without its encryption, if it has one.
func openKey(file []byte, password Secret) ([]byte, error) {
	var block *pem.Block
	for {
		if block, file = pem.Decode(file); block == nil {
			return nil, errNoKey
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			break
		}
	}
	//lint:ignore SA1019 such files exist, and are only read
	legacy := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // such files exist, and are only read
	if block.Type != "ENCRYPTED PRIVATE KEY" && !legacy {
		return pem.EncodeToMemory(block), nil
	}
	if password == "" {
		return nil, errKeyLocked
	}
	if legacy {
		//lint:ignore SA1019 as above
		der, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // as above
		if errors.Is(err, x509.IncorrectPasswordError) {
			return nil, errKeyPassword
		} else if err != nil {
			return nil, unsupportedKey(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
	}
	der, err := decryptPKCS8(block.Bytes, string(password))
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func unsupportedKey(err error) error {
	return fmt.Errorf("the key's encryption is not supported (%w): write it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc`", err)
}

// The encryption of PKCS #8 keys by a password, PBES2; see RFC 8018, appendix A.
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2Params struct {
		KeyDerivation pkix.AlgorithmIdentifier
		Encryption    pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

// maxKeyIterations bounds what a damaged file can cost: some seconds.
const maxKeyIterations = 10_000_000

func decryptPKCS8(der []byte, password string) ([]byte, error) {
	var key encryptedKey
	var scheme pbes2Params
	var kdf pbkdf2Params
	var iv []byte
	if err := unmarshalAll(der, &key); err != nil {
		return nil, unsupportedKey(err)
	}
	if oid := key.Algorithm.Algorithm.String(); oid != "1.2.840.113549.1.5.13" {
		return nil, unsupportedKey(errors.New("scheme " + oid))
	}
	if err := unmarshalAll(key.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, unsupportedKey(err)
	}
	if oid := scheme.KeyDerivation.Algorithm.String(); oid != "1.2.840.113549.1.5.12" {
		return nil, unsupportedKey(errors.New("key derivation " + oid))
	}
	if err := unmarshalAll(scheme.KeyDerivation.Parameters.FullBytes, &kdf); err != nil {
		return nil, unsupportedKey(err)
	}
	if kdf.Iterations < 1 || kdf.Iterations > maxKeyIterations {
		return nil, unsupportedKey(fmt.Errorf("%d iterations", kdf.Iterations))
	}
	prf, err := prfOf(kdf.PRF.Algorithm)
	if err != nil {
		return nil, unsupportedKey(err)
	}
	size, err := aesKeySize(scheme.Encryption.Algorithm)
	if err != nil {
		return nil, unsupportedKey(err)
	}
	if err := unmarshalAll(scheme.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, unsupportedKey(err)
	}
	if len(iv) != aes.BlockSize || len(key.Data) == 0 || len(key.Data)%aes.BlockSize != 0 {
		return nil, unsupportedKey(errors.New("the file is damaged"))
	}
	secret, err := pbkdf2.Key(prf, password, kdf.Salt, kdf.Iterations, size)
	if err != nil {
		return nil, unsupportedKey(err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, unsupportedKey(err)
	}
	plain := make([]byte, len(key.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, key.Data)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, errKeyPassword
	}
	plain = plain[:len(plain)-pad]
	// One wrong password in some hundred ends in what looks like padding.
	if _, err := x509.ParsePKCS8PrivateKey(plain); err != nil {
		return nil, errKeyPassword
	}
	return plain, nil
}

func unmarshalAll(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err == nil && len(rest) > 0 {
		err = errors.New("the file is damaged")
	}
	return err
}

func prfOf(oid asn1.ObjectIdentifier) (func() hash.Hash, error) {
	switch s := oid.String(); s {
	case "", "1.2.840.113549.2.7":
		return sha1.New, nil
	case "1.2.840.113549.2.9":
		return sha256.New, nil
	case "1.2.840.113549.2.10":
		return sha512.New384, nil
	case "1.2.840.113549.2.11":
		return sha512.New, nil
	default:
		return nil, errors.New("pseudo-random function " + s)
	}
}

func aesKeySize(oid asn1.ObjectIdentifier) (int, error) {
	switch s := oid.String(); s {
	case "2.16.840.1.101.3.4.1.2":
		return 16, nil
	case "2.16.840.1.101.3.4.1.22":
		return 24, nil
	case "2.16.840.1.101.3.4.1.42":
		return 32, nil
	default:
		return 0, errors.New("cipher " + s)
	}
}
