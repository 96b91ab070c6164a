// Package inbox.
package inbox
