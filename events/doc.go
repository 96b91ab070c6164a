// Package events holds the contract that services share: integration events,
// their envelope and the names of their topics.
package events
