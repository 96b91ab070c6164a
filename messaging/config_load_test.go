package messaging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// environ is a lookupEnv of these variables.
func environ(pairs ...string) func(string) (string, bool) {
	m := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		m[pair[0]] = pair[1]
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

// settingsDir is a folder with these files; names and contents alternate.
func settingsDir(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for file := range slices.Chunk(files, 2) {
		writeFile(t, filepath.Join(dir, file[0]), []byte(file[1]))
	}
	return dir
}

func kafkaJSON(members string) string { return `{"Kafka": {` + members + `}}` }

// The examples in testdata/settings are those of the guide to the .NET services, as they stand there.
func TestLoadReadsTheGuidesExamples(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		dir, environment string
		want             func(*Config)
	}{
		{"guide", "Staging", func(*Config) {}},
		{"guide", "Development", func(*Config) {}},
		{"guide", "Production", func(c *Config) {
			c.BootstrapServers = "kafka-broker-1:9092,kafka-broker-2:9092,kafka-broker-3:9092"
			c.ClientID = "customservice-prod-producer"
		}},
		{"high-availability", "Test", func(c *Config) { c.BootstrapServers = "broker1:9092,broker2:9092,broker3:9092" }},
		{"migration", "Test", func(c *Config) { c.ClientID = "yourservice-producer" }},
	} {
		t.Run(tc.dir+" "+tc.environment, func(t *testing.T) {
			t.Parallel()
			want := DefaultConfig()
			tc.want(&want)
			c, err := Load(filepath.Join("testdata", "settings", tc.dir), tc.environment, nil)
			require.NoError(t, err)
			assert.Equal(t, want, c)
		})
	}
}

func TestLoadWithoutFiles(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{t.TempDir(), "", filepath.Join(t.TempDir(), "missing")} {
		c, err := Load(dir, "", nil)
		require.NoError(t, err)
		assert.Equal(t, DefaultConfig(), c)
	}
}

func TestLoadLayers(t *testing.T) {
	t.Parallel()
	dir := settingsDir(t,
		"appsettings.json", kafkaJSON(`"BootstrapServers":"base:1","ClientId":"base","MaxInFlight":1,"MessageTimeoutMs":1000,"RetryBackoffMs":10,
			"Topics":{"a.b.c":"base-c","a.b.d":"base-d","a.b.e":"base-e"}`),
		"appsettings.Test.json", kafkaJSON(`"ClientId":"test","MaxInFlight":2,"MessageTimeoutMs":2000,"RetryBackoffMs":null,
			"Topics":{"a.b.c":"test-c","a.b.e":null}`),
		"appsettings.Production.json", kafkaJSON(`"ClientId":"production"`),
	)
	c, err := Load(dir, "Test", environ(
		"KAFKA_MAX_IN_FLIGHT", "3", "KAFKA_MESSAGE_TIMEOUT_MS", "3000", "KAFKA_ACKS", "",
		"Kafka__MessageTimeoutMs", "4000", "Kafka__Topics", "a.b.d=env-d, a.b.f = env-f,", "KAFKA_TOPICS", "a.b.g=ignored",
	))
	require.NoError(t, err)
	want := DefaultConfig()
	want.BootstrapServers = "base:1"
	want.ClientID = "test"
	want.MaxInFlight = 3
	want.MessageTimeout = 4 * time.Second
	want.RetryBackoff = 10 * time.Millisecond
	want.Topics = map[string]string{"a.b.c": "test-c", "a.b.d": "env-d", "a.b.f": "env-f"}
	assert.Equal(t, want, c)
	assert.Equal(t, "test-c", c.TopicName("a.b.c"))
	assert.Equal(t, "a.b.e", c.TopicName("a.b.e"))
}

func TestLoadChoosesTheEnvironment(t *testing.T) {
	t.Parallel()
	dir := settingsDir(t,
		"appsettings.Given.json", kafkaJSON(`"ClientId":"given"`),
		"appsettings.AspNet.json", kafkaJSON(`"ClientId":"aspnet"`),
		"appsettings.DotNet.json", kafkaJSON(`"ClientId":"dotnet"`),
		"appsettings.Production.json", kafkaJSON(`"ClientId":"production"`),
	)
	for _, tc := range []struct {
		given, want string
		variables   []string
	}{
		{"Given", "given", []string{"ASPNETCORE_ENVIRONMENT", "AspNet"}},
		{"", "aspnet", []string{"ASPNETCORE_ENVIRONMENT", "AspNet", "DOTNET_ENVIRONMENT", "DotNet"}},
		{"", "dotnet", []string{"ASPNETCORE_ENVIRONMENT", "", "DOTNET_ENVIRONMENT", "DotNet"}},
		{"", "production", nil},
	} {
		c, err := Load(dir, tc.given, environ(tc.variables...))
		require.NoError(t, err)
		assert.Equal(t, tc.want, c.ClientID)
	}
	for _, bad := range []string{"../x", `..\x`, "a\x00b"} {
		_, err := Load(dir, bad, nil)
		require.ErrorContains(t, err, "environment")
		_, err = Load(dir, "", environ("DOTNET_ENVIRONMENT", bad))
		require.ErrorContains(t, err, "environment")
	}
}

// Every setting can be given in each of the three ways, and each way does the same.
func TestLoadEverySettingByEveryName(t *testing.T) {
	t.Parallel()
	samples := map[string]string{
		"BootstrapServers": "x:1", "ClientId": "x", "EnableIdempotence": "False", "Acks": "Leader", "MaxInFlight": "7",
		"MessageTimeoutMs": "11", "RequestTimeoutMs": "12", "RetryBackoffMs": "13", "LingerMs": "14", "Topics": "a.b.c=x",
		"SecurityProtocol": "SaslSsl", "SaslMechanism": "ScramSha512", "SaslUsername": "alice", "SaslPassword": "secret",
		"SaslPasswordFile": "/password", "SslCaLocation": "/ca", "SslCertificateLocation": "/cert", "SslKeyLocation": "/key",
		"SslKeyPassword": "key secret", "Partitioner": "Murmur2", "CompressionType": "Zstd", "Headers": "Basic",
	}
	all := DefaultConfig()
	for _, s := range settings() {
		text, ok := samples[s.name]
		require.True(t, ok, s.name)
		require.NoError(t, s.set(&all, text))
	}
	assert.Equal(t, Config{
		BootstrapServers: "x:1", ClientID: "x", EnableIdempotence: false, Acks: AcksLeader, MaxInFlight: 7,
		MessageTimeout: 11 * time.Millisecond, RequestTimeout: 12 * time.Millisecond, RetryBackoff: 13 * time.Millisecond, Linger: 14 * time.Millisecond,
		Topics:           map[string]string{"a.b.c": "x"},
		SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512", SASLUsername: "alice", SASLPassword: "secret",
		SASLPasswordFile: "/password", SSLCALocation: "/ca", SSLCertificateLocation: "/cert", SSLKeyLocation: "/key",
		SSLKeyPassword: "key secret", Partitioner: PartitionerMurmur2, Compression: "zstd", Headers: HeadersBasic,
	}, all, "no field is without a setting")

	all.SASLPasswordFile = "" // one of the two
	delete(samples, "SaslPasswordFile")
	var plain, aliases []string
	fields := map[string]any{}
	for _, s := range settings() {
		text, ok := samples[s.name]
		if !ok {
			continue
		}
		plain = append(plain, "Kafka__"+s.name, text)
		aliases = append(aliases, s.variable, text)
		fields[strings.ToUpper(s.name)] = text // case does not matter
		if s.name == "Topics" {
			fields[strings.ToUpper(s.name)] = map[string]string{"a.b.c": "x"}
		}
	}
	b, err := json.Marshal(map[string]any{"kafka": fields})
	require.NoError(t, err)
	for name, load := range map[string]func() (Config, error){
		"Kafka__":          func() (Config, error) { return Load(t.TempDir(), "", environ(plain...)) },
		"KAFKA_":           func() (Config, error) { return Load(t.TempDir(), "", environ(aliases...)) },
		"appsettings.json": func() (Config, error) { return Load(settingsDir(t, "appsettings.json", string(b)), "", nil) },
	} {
		c, err := load()
		require.NoError(t, err, name)
		assert.Equal(t, all, c, name)
	}
	for _, name := range []string{"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CLIENT_ID", "KAFKA_ENABLE_IDEMPOTENCE", "KAFKA_ACKS"} {
		assert.Contains(t, aliases, name)
	}
}

func TestLoadSpellings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		json string
		want func(*Config)
	}{
		{`"Acks": "All"`, func(*Config) {}},
		{`"Acks": "all"`, func(*Config) {}},
		{`"Acks": "-1"`, func(*Config) {}},
		{`"EnableIdempotence": false, "Acks": 1`, func(c *Config) { c.EnableIdempotence, c.Acks = false, AcksLeader }},
		{`"EnableIdempotence": "False", "Acks": "leader"`, func(c *Config) { c.EnableIdempotence, c.Acks = false, AcksLeader }},
		{`"EnableIdempotence": false, "Acks": 0`, func(c *Config) { c.EnableIdempotence, c.Acks = false, AcksNone }},
		{`"EnableIdempotence": false, "Acks": "None"`, func(c *Config) { c.EnableIdempotence, c.Acks = false, AcksNone }},
		{`"MessageTimeoutMs": "1000"`, func(c *Config) { c.MessageTimeout = time.Second }},
		{`"CLIENTID": "x", "maxinflight": "4"`, func(c *Config) { c.ClientID, c.MaxInFlight = "x", 4 }},
		{`"ClientId": "a//b/*c*/,]"`, func(c *Config) { c.ClientID = "a//b/*c*/,]" }},
		{`"ClientId": "a\"//b"`, func(c *Config) { c.ClientID = `a"//b` }},
		{"\"ClientId\": \"x\", // why\r\n /* , */ \"MaxInFlight\": 3, /* last */ // ,\n", func(c *Config) { c.ClientID, c.MaxInFlight = "x", 3 }},
		{`"Topics": null, "ClientId": null`, func(*Config) {}},
		{`"Topics": ""`, func(*Config) {}},
		{`"Topics": {"a.b.c": "x",},`, func(c *Config) { c.Topics["a.b.c"] = "x" }},
	} {
		t.Run(tc.json, func(t *testing.T) {
			t.Parallel()
			want := DefaultConfig()
			tc.want(&want)
			c, err := Load(settingsDir(t, "appsettings.json", "\xef\xbb\xbf"+kafkaJSON(tc.json)), "", nil)
			require.NoError(t, err)
			assert.Equal(t, want, c)
		})
	}
}

func TestLoadReadsOnlyItsSection(t *testing.T) {
	t.Parallel()
	for _, file := range []string{
		`{}`, `{"Kafka": null}`, `{"Kafka": {}}`,
		`{"Logging": {"Kafka": {"ClientId": 1}, "LogLevel": {"Default": "Information"}}, "AllowedHosts": "*", "KafkaX": {"x": 1}}`,
	} {
		c, err := Load(settingsDir(t, "appsettings.json", file), "", nil)
		require.NoError(t, err, file)
		assert.Equal(t, DefaultConfig(), c)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, json string
		variables  []string
		want       []string
	}{
		{"broken JSON", "{\n\"Kafka\": {\n\"ClientId\" \"x\"\n}}", nil, []string{"appsettings.json:3: ", `invalid character '"'`}},
		{"an end too soon", "{\n\"Kafka\": {\n", nil, []string{"appsettings.json:2: ", "unexpected end"}},
		{"an empty file", "", nil, []string{"appsettings.json:1: ", "unexpected end"}},
		{"a comment without end", "{}\n\n/* x", nil, []string{"appsettings.json:3: "}},
		{"something behind the object", "{}\n{}", nil, []string{"appsettings.json:2: "}},
		{"a list", `[]`, nil, []string{"appsettings.json: must be a JSON object"}},
		{"UTF-16", "\xff\xfe{\x00}\x00", nil, []string{"UTF-16"}},
		{"Latin-1", "{\n\"Kafka\": {\n\"SaslPassword\": \"\xe4hunter2\"}}", nil, []string{"appsettings.json:3: not UTF-8"}},
		{"a list as section", "{\n\n\"Kafka\": []}", nil, []string{`appsettings.json:3: "Kafka" must be an object`}},
		{"two sections", "{\"Kafka\": {},\n\"kafka\": {}}", nil, []string{"appsettings.json:2: ", "two"}},
		{"a comma too many", kafkaJSON(`"ClientId": "x",,`), nil, []string{"invalid character ','"}},
		{"a comma alone", `{"Kafka": {,}}`, nil, []string{"invalid character ','"}},

		{"a misspelled setting", "{\n\"Kafka\":\n{ // x\n\"ClientId\": \"x\",\n\n\"MesageTimeoutMs\": 1}}", nil, []string{"setting MesageTimeoutMs (", "appsettings.json:6)", "did you mean MessageTimeoutMs?"}},
		{"a setting with Kafka's name", kafkaJSON(`"message.timeout.ms": 1`), nil, []string{"did you mean MessageTimeoutMs?"}},
		{"a setting of nothing alike", kafkaJSON(`"Zzz": 1`), nil, []string{"there are BootstrapServers, ClientId"}},
		{"a secret under a misspelled name", kafkaJSON(`"SaslPasword": "hunter2"`), nil, []string{"did you mean SaslPassword?"}},
		{"a setting twice", kafkaJSON(`"ClientId": "x", "clientid": "y"`), nil, []string{"setting ClientId", "twice"}},
		{"a list as setting", kafkaJSON(`"BootstrapServers": ["a:1"]`), nil, []string{"setting BootstrapServers", "string"}},
		{"an object as secret", kafkaJSON(`"SaslPassword": {"x": "hunter2"}`), nil, []string{"setting SaslPassword", "string"}},
		{"a fraction", kafkaJSON(`"MessageTimeoutMs": 1.5`), nil, []string{`MessageTimeoutMs = "1.5"`, "appsettings.json:1", "whole number"}},
		{"a duration", kafkaJSON(`"MessageTimeoutMs": "30s"`), nil, []string{`MessageTimeoutMs = "30s"`, "whole number"}},
		{"milliseconds over int64", kafkaJSON(`"MessageTimeoutMs": 9223372036854775807`), nil, []string{"whole number"}},
		{"a number as boolean", kafkaJSON(`"EnableIdempotence": 1`), nil, []string{`EnableIdempotence = "1"`, "true or false"}},
		{"acks of two", kafkaJSON(`"Acks": 2`), nil, []string{`Acks = "2"`, "-1 (All)"}},
		{"Topics as list", kafkaJSON(`"Topics": ["x"]`), nil, []string{"setting Topics", "object"}},
		{"a topic as list", kafkaJSON(`"Topics": {"a.b.c": ["x"]}`), nil, []string{"setting Topics", "a.b.c", "string"}},
		{"a topic twice", kafkaJSON(`"Topics": {"a.b.c": "x", "a.b.c": "y"}`), nil, []string{"setting Topics", "twice"}},

		{"a variable that is no number", "{}", []string{"KAFKA_MAX_IN_FLIGHT", "five"}, []string{`MaxInFlight = "five" (the variable KAFKA_MAX_IN_FLIGHT)`}},
		{"a variable of Topics without =", "{}", []string{"Kafka__Topics", "a.b.c"}, []string{`Topics = "a.b.c" (the variable Kafka__Topics)`, "default-name=name"}},
		{"a variable of Topics with a topic twice", "{}", []string{"Kafka__Topics", "a.b.c=x,a.b.c=y"}, []string{"twice"}},

		{"an invalid value of a file", kafkaJSON(`"MaxInFlight": 6`), nil, []string{`MaxInFlight = "6" (`, "appsettings.json:1)", "5 at most"}},
		{"an invalid value of a variable", kafkaJSON(`"MaxInFlight": 1`), []string{"KAFKA_ACKS", "1"}, []string{`Acks = "1" (the variable KAFKA_ACKS)`, "EnableIdempotence"}},
		{"an invalid topic", kafkaJSON(`"Topics": {"ItemCreated": "x"}`), nil, []string{"setting Topics:ItemCreated", "appsettings.json:1)", "three parts"}},
		{"another mechanism", kafkaJSON(`"SecurityProtocol": "SaslSsl", "SaslUsername": "a", "SaslPassword": "b", "SaslMechanism": "OAuthBearer"`), nil, []string{`SaslMechanism = "OAuthBearer"`, "SCRAM-SHA-512"}},
		{"a password for nobody", "{}", []string{"Kafka__SaslPassword", "hunter2"}, []string{"setting SaslPassword (the variable Kafka__SaslPassword)", "nobody would be authenticated"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := Load(settingsDir(t, "appsettings.json", tc.json), "", environ(tc.variables...))
			require.Error(t, err)
			assert.Equal(t, Config{}, c)
			for _, want := range tc.want {
				assert.Contains(t, err.Error(), want)
			}
			assert.NotContains(t, err.Error(), "hunter2")
			assert.NotContains(t, err.Error(), "\n", "one problem, one line")
		})
	}
}

func TestLoadReportsEverything(t *testing.T) {
	t.Parallel()
	dir := settingsDir(t, "appsettings.json", kafkaJSON(`"Nonsense": 1, "Acks": 7`), "appsettings.Production.json", `{`)
	_, err := Load(dir, "", environ("KAFKA_MAX_IN_FLIGHT", "x"))
	for _, want := range []string{"Nonsense", "Acks", "appsettings.Production.json:1", "MaxInFlight"} {
		assert.ErrorContains(t, err, want)
	}
}

func TestLoadUnreadableFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "appsettings.json"), 0o700))
	_, err := Load(dir, "", nil)
	require.ErrorContains(t, err, "appsettings.json")
}

func TestLoadLeavesNoMapShared(t *testing.T) {
	t.Parallel()
	dir := settingsDir(t, "appsettings.json", kafkaJSON(`"Topics": {"a.b.c": "x"}`))
	one, err := Load(dir, "", nil)
	require.NoError(t, err)
	one.Topics["a.b.d"] = "y"
	two, err := Load(dir, "", nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"a.b.c": "x"}, two.Topics)
}

// Blanks and comments between the tokens, and commas behind the last value,
// change nothing; they are put into valid JSON, wherever a fuzzer finds some.
func FuzzStripJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `[1,2,{"a":"b"}]`, `{"a":"//","b":"/*","c":"\\\"","d":[[],{}]}`, `"x`, `{,}`, `[1,]`, `[1,,]`, `/*/ {}`, `{}//`, `1 /**/ 2`, "// \r{}", `[,]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		out := stripJSON(b)
		require.Equal(t, before, b, "the argument stays as it is")
		require.Len(t, out, len(b))
		require.Equal(t, bytes.Count(b, []byte("\n")), bytes.Count(out, []byte("\n")))
		require.Equal(t, out, stripJSON(out), "a second time changes nothing")
		if !json.Valid(b) {
			return
		}
		require.Equal(t, b, out, "valid JSON stays as it is")
		if len(b) > 1<<10 {
			return
		}
		require.Equal(t, string(b), unspace(string(stripJSON(decorate(b))), string(b)))
	})
}

// decorate puts comments around the punctuation of valid JSON, and commas behind last values.
func decorate(b []byte) []byte {
	var out bytes.Buffer
	last := byte('[')
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			end := stringEnd(b, i)
			out.Write(b[i : end+1])
			i, last = end, c
		case '{', '[', ':', ',':
			fmt.Fprintf(&out, "/* \" , %c */%c// ' , ]\n", c, c)
			last = c
		case '}', ']':
			if last != '{' && last != '[' {
				out.WriteString(",/**/ ")
			}
			out.WriteByte(c)
			last = c
		case ' ', '\t', '\r', '\n':
			out.WriteByte(c)
		default:
			out.WriteByte(c)
			last = c
		}
	}
	return out.Bytes()
}

// unspace returns want if got differs from it by nothing but blanks outside of strings.
func unspace(got, want string) string {
	var a, b bytes.Buffer
	if json.Compact(&a, []byte(got)) != nil || json.Compact(&b, []byte(want)) != nil || a.String() != b.String() {
		return got
	}
	return want
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(kafkaJSON(`"Acks": -1, "Topics": {"a.b.c": "x"},`)), "a.b.c=x,", "30000")
	f.Add([]byte(`{"Kafka": {"SaslPassword": "hunter2-top-secret" "x"}}`), "=", "")
	f.Add([]byte("\xef\xbb\xbf{\"kafka\":null}"), "", "1e9")
	f.Fuzz(func(t *testing.T, file []byte, topics, number string) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "appsettings.json"), file)
		c, err := Load(dir, "", environ("Kafka__Topics", topics, "KAFKA_MESSAGE_TIMEOUT_MS", number, "Kafka__SaslPassword", testPassword))
		if err != nil {
			require.Equal(t, Config{}, c)
			if !bytes.Contains(file, []byte(testPassword)) {
				assertHidden(t, err.Error())
			}
			return
		}
		require.NoError(t, c.Validate(), "what is loaded is valid")
	})
}
