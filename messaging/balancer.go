package messaging

import "github.com/expensevault/sharedlibrary/internal/consumer"

// Balancer is a way in which a group shares its partitions out among its
// members, see [WithBalancers]. Its String is the name that Kafka's protocol
// and other libraries' settings have for it. The zero value is none.
type Balancer uint8

const (
	// CooperativeSticky spreads the partitions of all topics evenly, and moves no
	// more of them than that takes. Known to Java's CooperativeStickyAssignor and
	// franz-go's CooperativeStickyBalancer, and as cooperative-sticky to librdkafka and .NET.
	//
	// Source: https://cwiki.apache.org/confluence/display/KAFKA/KIP-429
	CooperativeSticky = Balancer(consumer.CooperativeSticky)
	// Range gives each member a run of each topic's partitions: those of the same
	// number in topics of as many partitions fall to the same member, and where
	// there are few partitions the first members get all. Every library knows it.
	Range = Balancer(consumer.Range)
)

func (b Balancer) String() string { return consumer.Balancer(b).String() }

// WithBalancers sets the ways in which the group may share its partitions out, the one that is liked best first. All
// members of a group have to know one in common; the brokers choose the one
// that most members like best. The default is CooperativeSticky, Range: such a
// member can join any group of Java, franz-go, librdkafka or .NET members.
//
// What is offered decides what a rebalance costs. A member that offers
// CooperativeSticky alone goes on with its partitions while the group
// rebalances, and stops only those that move. One that offers Range as well,
// as the default does, gives all of its partitions up first and gets them back
// when everybody has joined: the group may choose Range, and then nobody would wait for what it still
// holds. Java's consumer follows the same rule. So a group whose members all know CooperativeSticky
// does best with WithBalancers(CooperativeSticky). It can be deployed over the
// default instance by instance; over members that know Range only, by way of the default.
//
// With none it is the default again. A member whose balancers the group's other members do not know ends Run with an error.
func WithBalancers(bs ...Balancer) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) {
		o.balancers = nil
		for _, b := range bs {
			o.balancers = append(o.balancers, consumer.Balancer(b))
		}
	})
}
