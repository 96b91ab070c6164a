// Package deptest holds the tests that keep the packages' dependencies as they are meant to be.
package deptest
