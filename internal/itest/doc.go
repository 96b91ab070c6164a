// Package itest holds the tests that run on every kind of broker.
package itest
