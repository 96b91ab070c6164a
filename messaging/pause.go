package messaging

// Pause has the records of topics wait: nothing more of them is fetched or
// begun, what is being handled is finished, and the subscriber stays a member of
// its group. Topics are default names: Config.Topics is applied, and their
// retry topics pause with them. Others, and those that are paused already, change nothing.
//
// It may be called at any time, before Run too, and holds until
// [Subscriber.Resume], also through a rebalance and another Run. Other members of the group know nothing of it.
func (s *Subscriber) Pause(topics ...string) { s.control.Pause(s.withRetries(topics)...) }

// Resume undoes [Subscriber.Pause].
func (s *Subscriber) Resume(topics ...string) { s.control.Resume(s.withRetries(topics)...) }

// withRetries are the topics' names on the broker, and those of their retry topics.
func (s *Subscriber) withRetries(topics []string) []string {
	var out []string
	for _, name := range namesOf(s.cfg, topics) {
		out = append(append(out, name), s.deliver.retryTopics[name]...)
	}
	return out
}
