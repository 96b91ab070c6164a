package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

const (
	readMaxBytes          = 8 << 20
	readPartitionMaxBytes = 1 << 20
	emptyTries            = 20 // each of them as long as pollWait
)

// Read yields the committed records of a partition from an offset up to, and
// without, another, set by set; end is the offset below which it has seen all.
// A position that the log no longer holds goes on with the first record that it
// holds. An error of yield ends it.
func (a *Admin) Read(ctx context.Context, tp TopicPartition, from, to int64, yield func(recs []*recordbatch.Record, end int64) error) error {
	damaged, empty := 0, 0
	for from < to {
		var set *recordbatch.Reader
		start := from
		err := a.again(ctx, "read "+tp.String(), func(ctx context.Context) error {
			var err error
			set, err = a.fetch(ctx, tp, start)
			if errors.Is(err, kerr.OffsetOutOfRange) {
				first, err := a.Offsets(ctx, Earliest, tp)
				if err != nil {
					return &refusedError{err}
				}
				if first[tp] > start {
					start = first[tp]
					return kerr.OffsetOutOfRange
				}
				return &refusedError{fmt.Errorf("consumer: read %s: %w: offset %d is beyond the log's end: the topic was created anew", tp, kerr.OffsetOutOfRange, start)}
			}
			if batch, ok := errors.AsType[*recordbatch.BatchError](err); ok {
				if damaged++; damaged > damagedTries {
					return &refusedError{wrap("read "+tp.String(), batch)}
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		damaged = 0
		recs, err := below(set, to)
		if err != nil {
			return wrap("read "+tp.String(), err)
		}
		end := min(max(start, set.End()), to)
		if end == from {
			// The end was stable, so there is something: a broker that has just begun to lead may take a moment.
			if empty++; empty > emptyTries {
				return fmt.Errorf("consumer: read %s: %w: nothing comes from offset %d on, although the end is %d", tp, ErrUnanswered, from, to)
			}
			continue
		}
		empty = 0
		if err := yield(recs, end); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// below takes the records of a set that lie below an offset.
func below(set *recordbatch.Reader, to int64) ([]*recordbatch.Record, error) {
	var recs []*recordbatch.Record
	for {
		rec, err := set.Next()
		switch {
		case errors.Is(err, io.EOF):
			return recs, nil
		case err != nil:
			return nil, err
		case rec.Offset >= to:
			return recs, nil
		}
		recs = append(recs, rec)
	}
}

func (a *Admin) fetch(ctx context.Context, tp TopicPartition, from int64) (*recordbatch.Reader, error) {
	leaders, err := a.leaders(ctx, []TopicPartition{tp})
	if err != nil {
		return nil, err
	}
	p := *a.m.p
	p.FetchMaxBytes, p.PartitionMaxBytes = readMaxBytes, readPartitionMaxBytes
	for leader := range leaders {
		req := fetchRequest(&p, millis(pollWait), []position{{topic: tp.Topic, partition: tp.Partition, offset: from, epoch: -1}})
		r, v, err := call(ctx, p.Cluster, leader, cluster.Fetch, req, pollWait+fetchSlack)
		if err != nil {
			return nil, err
		}
		answer, code, err := decodeFetch(r, v)
		if err != nil {
			return nil, err
		}
		if code != kerr.None {
			return nil, code
		}
		for _, f := range answer {
			if f.topic != tp.Topic || f.partition != tp.Partition {
				continue
			}
			if f.code != kerr.None {
				return nil, f.code
			}
			return recordbatch.Open(f.set, recordbatch.DecodeParams{
				Topic: tp.Topic, Partition: tp.Partition, Offset: from, Aborted: f.aborted, MaxBatchBytes: a.maxBatchBytes(),
			})
		}
	}
	return nil, kerr.UnknownServerError
}

func (a *Admin) maxBatchBytes() int { return orDefault(a.m.p.MaxBatchBytes, 16<<20) }
