package messaging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Load returns the settings of a service, each layer over the one before:
//
//  1. [DefaultConfig]
//  2. the "Kafka" section of dir/appsettings.json
//  3. that of dir/appsettings.{environment}.json
//  4. environment variables: KAFKA_BOOTSTRAP_SERVERS, KAFKA_CLIENT_ID and so on,
//     the setting's name in capitals
//  5. environment variables by .NET's rule: Kafka__BootstrapServers,
//     Kafka__ClientId and so on, spelled exactly so
//
// It validates the result; see [Config.Validate]. An environment of "" is what
// ASPNETCORE_ENVIRONMENT says, or else DOTNET_ENVIRONMENT, or else Production.
// A dir of "" is the working directory. lookupEnv is [os.LookupEnv], or a
// test's; with nil there are no variables. A variable that is empty counts as
// not set.
//
// A file that is missing is no error; one that can't be read, or is not JSON,
// is. As in .NET, JSON may have comments, trailing commas and a byte order mark,
// names of settings may be in upper or lower case, and numbers and booleans may stand in
// strings. Acks may be written -1, All, 1, Leader, 0 or None. A setting that is
// null counts as not set there. An unknown name in the section is an error: a
// misspelled setting would silently keep its default.
//
// Topics is an object in JSON; its layers are merged by the default name of the topic, and
// an entry that is "" or null takes one from a lower layer away. In a variable it is
// written customservice.item.created=items,customservice.item.deleted=removed.
//
// The error joins a [*SettingError] for each setting that is wrong, and what
// makes a file unreadable; with an error the Config is the zero value.
func Load(dir, environment string, lookupEnv func(string) (string, bool)) (Config, error) {
	if lookupEnv == nil {
		lookupEnv = func(string) (string, bool) { return "", false }
	}
	env := func(name string) string {
		v, _ := lookupEnv(name)
		return v
	}
	for _, name := range []string{env("ASPNETCORE_ENVIRONMENT"), env("DOTNET_ENVIRONMENT"), "Production"} {
		if environment == "" {
			environment = name
		}
	}
	if strings.ContainsAny(environment, "/\\\x00") {
		return Config{}, fmt.Errorf("messaging: the environment %q is not a name such as Production: it is a part of a file's name", shorten(environment))
	}
	l := &loader{config: DefaultConfig(), settings: settings(), sources: map[string]string{}}
	l.file(filepath.Join(dir, "appsettings.json"))
	l.file(filepath.Join(dir, "appsettings."+environment+".json"))
	for _, s := range l.settings {
		for _, name := range []string{"Kafka__" + s.name, s.variable} {
			if text := env(name); text != "" {
				l.set(s, text, "the variable "+name)
				break
			}
		}
	}
	if len(l.errs) > 0 {
		return Config{}, errors.Join(l.errs...)
	}
	problems := l.config.problems()
	for _, p := range problems {
		name, _, _ := strings.Cut(p.Setting, ":") // an entry of Topics
		p.Source = l.sources[name]
	}
	if err := problems.err(); err != nil {
		return Config{}, err
	}
	return l.config, nil
}

// loader puts one layer after the other into config.
type loader struct {
	config   Config
	settings []setting
	sources  map[string]string // where each setting was last found
	errs     []error
}

// set takes a setting's text from a layer.
func (l *loader) set(s setting, text, source string) {
	l.sources[s.name] = source
	if err := s.set(&l.config, text); err != nil {
		if s.secret {
			text = ""
		}
		l.errs = append(l.errs, &SettingError{Setting: s.name, Value: text, Source: source, Problem: err.Error()})
	}
}

func (l *loader) file(path string) {
	b, err := os.ReadFile(path) //nolint:gosec // the caller's folder; the environment holds no separator
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("messaging: settings: %w", err))
		return
	}
	entries, err := kafkaSection(b)
	if err != nil {
		if at, ok := errors.AsType[*positionError](err); ok {
			path = fmt.Sprintf("%s:%d", path, at.line)
		}
		l.errs = append(l.errs, fmt.Errorf("messaging: settings: %s: %w", path, err))
		return
	}
	seen := map[string]bool{}
	for _, e := range entries {
		source := fmt.Sprintf("%s:%d", path, e.line)
		s, ok := l.named(e.name)
		switch {
		case !ok:
			l.errs = append(l.errs, &SettingError{Setting: shorten(e.name), Source: source, Problem: "there is no such setting: " + l.suggest(e.name)})
		case seen[s.name]:
			l.errs = append(l.errs, &SettingError{Setting: s.name, Source: source, Problem: "is set twice in this file: remove one of them"})
		default:
			seen[s.name] = true
			l.entry(s, e, source)
		}
	}
}

func (l *loader) entry(s setting, e entry, source string) {
	if e.isNull() {
		return
	}
	if s.name == "Topics" {
		l.sources[s.name] = source
		topics, err := e.topics()
		if err != nil {
			l.errs = append(l.errs, &SettingError{Setting: s.name, Source: source, Problem: err.Error()})
			return
		}
		for name, custom := range topics {
			setTopic(&l.config, name, custom)
		}
		return
	}
	text, ok := e.text()
	if !ok {
		l.errs = append(l.errs, &SettingError{Setting: s.name, Source: source, Problem: "must be a string, a number or a boolean, not an object or a list"})
		return
	}
	l.set(s, text, source)
}

func (l *loader) named(name string) (setting, bool) {
	for _, s := range l.settings {
		if strings.EqualFold(s.name, name) {
			return s, true
		}
	}
	return setting{}, false
}

// suggest names the setting that name was probably meant to be.
func (l *loader) suggest(name string) string {
	best, distance := "", len(name)
	names := make([]string, len(l.settings))
	for i, s := range l.settings {
		names[i] = s.name
		if d := editDistance(strings.ToLower(name), strings.ToLower(s.name)); d < distance {
			best, distance = s.name, d
		}
	}
	if distance <= len(best)/2 {
		return "did you mean " + best + "?"
	}
	return "there are " + strings.Join(names, ", ")
}

// editDistance is Levenshtein's, over the first bytes of two names.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
