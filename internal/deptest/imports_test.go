package deptest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/expensevault/sharedlibrary"

// A listed is what go list says of a package.
type listed struct {
	ImportPath   string   `json:"ImportPath"`
	Dir          string   `json:"Dir"`
	Standard     bool     `json:"Standard"`
	GoFiles      []string `json:"GoFiles"`
	Imports      []string `json:"Imports"`
	TestImports  []string `json:"TestImports"`
	XTestImports []string `json:"XTestImports"`
	Module       *struct {
		Path string `json:"Path"`
	} `json:"Module"`
}

// ours: is the package one of this repository's modules?
func (p *listed) ours() bool { return p.Module != nil && within(p.Module.Path, module) }

// A rule says what the packages under a path may import; the first that fits a package holds. Our own packages are
// written without the module's path.
type rule struct {
	in    string
	allow []string // what it may import, with everything below; the standard library always
	deny  []string // exceptions from allow
}

// rules is the table of who may import whom.
func rules() []rule {
	otel := []string{"go.opentelemetry.io/otel"}
	sdk := []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters"}
	const kafka, uuid = "github.com/segmentio/kafka-go", "github.com/google/uuid"
	return []rule{
		{in: "events", allow: []string{uuid, "events"}},
		{in: "tracing", allow: append(otel, kafka, uuid), deny: sdk},
		{in: "messaging/messagingtest", allow: []string{"messaging", "events", uuid}, deny: []string{"messaging/embedded", "messaging/outbox", "messaging/inbox"}},
		{in: "messaging/outbox", allow: append(otel, "messaging", "events", uuid, "internal/sqldb", "internal/failpoint", "internal/backoff", "internal/telemetry"), deny: append(sdk, "messaging/embedded", "messaging/inbox", "messaging/messagingtest")},
		{in: "messaging/inbox", allow: []string{"messaging", "events", uuid, "tracing", "internal/sqldb", "internal/failpoint"}, deny: []string{"messaging/embedded", "messaging/outbox", "messaging/messagingtest"}},
		{in: "messaging/embedded", allow: []string{"github.com/twmb/franz-go"}},
		{in: "messaging", allow: append(otel, "events", "tracing", "internal", kafka, uuid), deny: append(sdk, "internal/itest", "internal/deptest")},
		{in: "internal/itest", allow: []string{""}},
		{in: "internal", allow: append(otel, kafka, "internal"), deny: append(sdk, "internal/itest", "internal/deptest")},
		{in: "examples", allow: []string{""}, deny: []string{"internal", "github.com/testcontainers", "github.com/twmb/franz-go", "github.com/stretchr/testify"}},
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	standard := map[string]bool{}
	var own []*listed
	for _, p := range goList(t, "-deps") {
		standard[p.ImportPath] = p.Standard
		if p.ours() {
			own = append(own, p)
		}
	}
	require.NotEmpty(t, own)
	for _, p := range own {
		path := short(p.ImportPath)
		i := slices.IndexFunc(rules(), func(r rule) bool { return within(path, r.in) })
		if !assert.GreaterOrEqual(t, i, 0, "no rule says what %s may import: folders at the root are events, messaging, tracing, internal, examples", path) {
			continue
		}
		r := rules()[i]
		for _, imported := range p.Imports {
			name := short(imported)
			fits := func(prefix string) bool { return within(name, prefix) }
			if standard[imported] {
				continue
			}
			assert.True(t, slices.ContainsFunc(r.allow, fits) && !slices.ContainsFunc(r.deny, fits), "%s imports %s", path, imported)
		}
	}
}

// TestHome holds some modules to the one folder that may know them, tests included, and testify to the tests.
func TestHome(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t) {
		path := short(p.ImportPath)
		all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		for foreign, homes := range map[string][]string{
			"github.com/testcontainers": {"internal/itest"},
			"github.com/twmb/franz-go":  {"messaging/embedded", "internal/itest"}, // the latter plays its faults
		} {
			if !slices.ContainsFunc(homes, func(home string) bool { return within(path, home) }) {
				assert.False(t, slices.ContainsFunc(all, func(i string) bool { return within(i, foreign) }), "%s imports %s, which only %s may", path, foreign, homes)
			}
		}
		if path != "internal/itest" { // its helpers are tests too
			assert.False(t, slices.ContainsFunc(p.Imports, func(i string) bool { return within(i, "github.com/stretchr/testify") }), "%s imports testify outside its tests", path)
		}
	}
}

// TestEventsStandAlone looks at everything that events needs, however far away.
func TestEventsStandAlone(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t, "-deps", module+"/events") {
		if !p.Standard {
			assert.True(t, p.ImportPath == module+"/events" || p.ImportPath == "github.com/google/uuid", "events needs %s", p.ImportPath)
		}
	}
}

// TestTracingKnowsHeadersOnly: tracing may name kafka-go's Header and nothing else of it.
func TestTracingKnowsHeadersOnly(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t, module+"/tracing") {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			local := map[string]bool{}
			for _, spec := range file.Imports {
				path := strings.Trim(spec.Path.Value, `"`)
				switch {
				case !within(path, "github.com/segmentio/kafka-go"):
				case spec.Name != nil:
					local[spec.Name.Name] = true
				case path == "github.com/segmentio/kafka-go":
					local["kafka"] = true
				default:
					local[path[strings.LastIndex(path, "/")+1:]] = true
				}
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && local[x.Name] {
						assert.Equal(t, "Header", s.Sel.Name, "%s uses %s.%s", name, x.Name, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// TestRootModule pins the direct requirements of the module that users import: each one more is a decision.
func TestRootModule(t *testing.T) {
	t.Parallel()
	out := goCommand(t, "mod", "edit", "-json", filepath.Join(root(t), "go.mod"))
	var mod struct {
		Require []struct {
			Path     string `json:"Path"`
			Indirect bool   `json:"Indirect"`
		} `json:"Require"`
		Replace []struct{} `json:"Replace"`
	}
	require.NoError(t, json.Unmarshal(out, &mod))
	assert.Empty(t, mod.Replace, "a replace in a library's go.mod does not reach its users")
	allowed := []string{
		"github.com/google/uuid", "github.com/segmentio/kafka-go", "github.com/stretchr/testify",
		"go.opentelemetry.io/otel", "go.opentelemetry.io/otel/trace", "go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/sdk/metric",
	}
	for _, r := range mod.Require {
		if !r.Indirect {
			assert.Contains(t, allowed, r.Path)
		}
		assert.False(t, within(r.Path, "github.com/testcontainers") || within(r.Path, "github.com/twmb"), "%s in the graph of every user", r.Path)
	}
}

func within(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}

func short(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	return dir
}

// goList lists the packages, by default those of all modules of the workspace (of the root module where there is none).
func goList(t *testing.T, args ...string) []*listed {
	t.Helper()
	if !slices.ContainsFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") }) {
		all := "work"
		if work := strings.TrimSpace(string(goCommand(t, "env", "GOWORK"))); work == "" || work == "off" {
			all = "./..."
		}
		args = append(args, all)
	}
	decoder := json.NewDecoder(strings.NewReader(string(goCommand(t, append([]string{"list", "-json"}, args...)...))))
	var packages []*listed
	for {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, &p)
	}
}

func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		require.NoError(t, err, string(exit.Stderr))
	}
	require.NoError(t, err)
	return out
}
