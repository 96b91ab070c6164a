// Package failpoint lets a test stop the code at named places: to see what is
// left behind when a process dies there, or stands still and goes on later.
package failpoint

import "context"

type key struct{}

// With returns ctx with hook, which [Hit] calls. Only tests have use for it.
func With(ctx context.Context, hook func(point string) error) context.Context {
	return context.WithValue(ctx, key{}, hook)
}

// Hit tells ctx's hook that the code has come to a place. It returns what the
// hook returns, and nil where there is none. A hook that does not return is a
// process that stands still.
func Hit(ctx context.Context, point string) error {
	hook, ok := ctx.Value(key{}).(func(string) error)
	if !ok {
		return nil
	}
	return hook(point)
}
