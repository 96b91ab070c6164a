// Package cluster knows the brokers: metadata, leaders, coordinators and one connection to each.
package cluster
