// Package inbox has a handler's effect in its database happen once, however
// often its record is delivered.
//
//	in := inbox.New(db, inbox.PostgreSQL, "audit")
//	mux.Use(in.Middleware())
//	messaging.Handle(&mux, func(ctx context.Context, e *ItemCreated) error {
//		_, err := inbox.Tx(ctx).ExecContext(ctx, …)     // the effect
//		return box.In(inbox.Tx(ctx)).Publish(ctx, …)    // and what follows from it
//	})
//
//	record ─► begin ─► insert (group, event ID) ─► handler's rows, next events ═ commit ─► acknowledged
//	          the ID is there: acknowledged, without the handler
//
// # Promises
//
//  1. The ID and the handler's rows are committed together, or neither is. A
//     handler that fails leaves no trace, and the next delivery is a first one.
//  2. Of two deliveries at once, on whichever consumers, one has the effect.
//  3. When the commit's answer is lost, the next delivery finds out by the row.
//
// It covers what the handler does with its transaction, and nothing else: a mail
// may be sent twice. It ends when [Inbox.Clean] has deleted the row.
package inbox
