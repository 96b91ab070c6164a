package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// verdict is what came of one database.
type verdict struct {
	Asked      int            `json:"asked"`
	Committed  int            `json:"committed"`
	RolledBack int            `json:"rolledBack"`
	InTopic    int            `json:"inTopic"`
	Lost       int            `json:"lost"`
	Doubled    int            `json:"doubled"`
	Reordered  int            `json:"reordered"`
	Never      int            `json:"neverCommitted"` // and yet in the topic
	Effects    int            `json:"effects"`
	NoEffect   int            `json:"withoutEffect"`
	Twice      int            `json:"effectsTwice"`
	Wrong      int            `json:"wrongAnswers"`
	Deaths     int            `json:"deaths"`
	AtPlaces   map[string]int `json:"deathsAtPlaces"`
	Settled    float64        `json:"settledSeconds"`
}

// settle lets everything come to its end, and compares.
func (w *world) settle(ctx context.Context, k *kafka) (verdict, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var v verdict
	w.healed.Store(true)
	for _, p := range w.consumers { // they come back as such that live
		p.kill()
	}
	for _, p := range w.services { // one that is frozen thaws by itself
		if err := p.finish(ctx); err != nil {
			return v, err
		}
	}
	business, err := w.business(ctx)
	if err != nil {
		return v, err
	}
	effects, err := w.effects(ctx, len(business))
	if err != nil {
		return v, err
	}
	v.Settled = time.Since(began).Seconds()
	w.stopping.Store(true)
	topic, err := w.published(ctx, k)
	if err != nil {
		return v, err
	}
	w.judge(&v, business, topic, effects)
	w.mu.Lock()
	v.Deaths, v.AtPlaces = w.restarted, maps.Clone(w.diedAt)
	w.mu.Unlock()
	w.log("Settled", "verdict", fmt.Sprintf("%+v", v))
	if v.Lost+v.Doubled+v.Reordered+v.Never+v.NoEffect+v.Twice+v.Wrong > 0 || v.Asked != v.Committed+v.RolledBack {
		return v, fmt.Errorf("%s: something was lost, doubled, reordered or made up: %+v", w.kind, v)
	}
	if v.Committed == 0 {
		return v, errors.New(w.kind + ": nothing was committed: this run has shown nothing")
	}
	return v, nil
}

// entry is a row of biz.
type entry struct {
	key string
	seq int
}

func (w *world) business(ctx context.Context) (map[string]entry, error) {
	rows, err := w.db.QueryContext(ctx, "SELECT id, k, seq FROM biz")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]entry{}
	for rows.Next() {
		var id string
		var e entry
		if err := rows.Scan(&id, &e.key, &e.seq); err != nil {
			return nil, err
		}
		out[id] = e
	}
	return out, rows.Err()
}

// effects waits until there are as many as there must be, and a little longer: for one that should not come.
func (w *world) effects(ctx context.Context, want int) (map[string]int, error) {
	late := time.Now().Add(2 * time.Minute)
	for {
		var n int
		if err := w.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM effect").Scan(&n); err == nil && n >= want || time.Now().After(late) {
			break
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for _, p := range w.consumers {
		p.mu.Lock()
		failed := p.failed
		p.mu.Unlock()
		if failed != nil {
			return nil, failed
		}
	}
	time.Sleep(3 * time.Second) //nolint:forbidigo // for what must not happen there is no event
	rows, err := w.db.QueryContext(ctx, "SELECT id FROM effect")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]int{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out[id]++
	}
	return out, rows.Err()
}

// published is the topic: of each key the ids in order.
func (w *world) published(ctx context.Context, k *kafka) (map[string][]string, error) {
	partitions, err := k.read(ctx, w.topic)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, n := range slices.Sorted(maps.Keys(partitions)) {
		for _, r := range partitions[n] {
			var e struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(r.Value, &e); err != nil {
				return nil, fmt.Errorf("a record of partition %d, offset %d: %w", r.Partition, r.Offset, err)
			}
			out[string(r.Key)] = append(out[string(r.Key)], e.ID)
		}
	}
	return out, nil
}

// judge compares what was asked and answered, the rows, the topic and the effects.
func (w *world) judge(v *verdict, business map[string]entry, topic map[string][]string, effects map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v.Asked = len(w.asked)
	for id, how := range w.asked {
		_, there := business[id]
		switch told := w.told[id]; {
		case told == "C" && there && how == 'c':
			v.Committed++
		case told == "R" && !there && how == 'r':
			v.RolledBack++
		default:
			v.Wrong++
			w.log("A wrong answer", "id", id, "asked", string(how), "told", told, "row", there)
		}
	}
	times := map[string]int{}
	for _, ids := range topic {
		last := 0
		for _, id := range ids {
			v.InTopic++
			e, there := business[id]
			if times[id]++; times[id] > 1 {
				v.Doubled++
				w.log("Twice in the topic", "id", id)
				continue
			}
			if !there {
				v.Never++
				w.log("Never committed, and in the topic", "id", id)
				continue
			}
			if e.seq <= last {
				v.Reordered++
				w.log("Out of order", "id", id, "key", e.key)
			}
			last = e.seq
		}
	}
	for id := range business {
		if times[id] == 0 {
			v.Lost++
			w.log("Not in the topic", "id", id)
		}
		switch effects[id] {
		case 0:
			v.NoEffect++
			w.log("Without effect", "id", id)
		case 1:
			v.Effects++
		default:
			v.Twice++
			w.log("With two effects", "id", id)
		}
	}
}
