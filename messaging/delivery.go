package messaging

import (
	"context"
	"slices"
	"time"
)

// Delivery says where a record that is being handled came from.
type Delivery struct {
	Topic     string // as on the broker
	Partition int32  // -1: not from a broker
	Offset    int64  // -1: not from a broker
	Attempt   int    // from 1; the attempts before a rebalance or a restart are not counted
	Group     string // the consumer group; "" where there is none
	Key       []byte // nil: no key. Must not be changed
	Headers   []Header
	Time      time.Time // the record's timestamp
}

// Header returns the value of the last header with this exact name, and whether there is one.
func (d Delivery) Header(name string) (string, bool) {
	for _, h := range slices.Backward(d.Headers) {
		if h.Key == name {
			return string(h.Value), true
		}
	}
	return "", false
}

// DeliveryFrom returns the delivery that ctx, a handler's or a middleware's,
// belongs to; false outside of one.
func DeliveryFrom(ctx context.Context) (Delivery, bool) {
	switch d := ctx.Value(deliveryKey{}).(type) {
	case *attempt:
		return d.delivery(), true
	case *Delivery:
		return *d, true
	}
	return Delivery{}, false
}

// ContextWithDelivery returns ctx with a delivery, for tests of handlers that
// ask for one: [Mux.Dispatch] leaves it as it is.
func ContextWithDelivery(ctx context.Context, d Delivery) context.Context {
	return context.WithValue(ctx, deliveryKey{}, &d)
}
