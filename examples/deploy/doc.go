// Package deploy holds no code: it is the stack around customservice for a
// machine of one's own, its dashboard and its alerts, and the tests of these.
package deploy
