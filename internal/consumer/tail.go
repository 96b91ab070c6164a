package consumer

import (
	"context"
	"fmt"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// The offsets that ListOffsets takes for the ends of a log.
const (
	atLatest   = -1
	atEarliest = -2
)

// Tail reads the end of a partition's log, as its leader has it: the records of the last n offsets, oldest
// first. Markers and gaps of a compacted log count as offsets, so that there may be fewer.
func Tail(ctx context.Context, c *cluster.Cluster, leader int32, topic string, partition int32, n int) ([]*recordbatch.Record, error) {
	p := Params{Cluster: c, FetchMaxBytes: 8 << 20, PartitionMaxBytes: 8 << 20, ReadUncommitted: true} //nolint:exhaustruct_v5 // what a fetch alone needs
	ends := make([]int64, 0, 2)
	for _, at := range []int64{atEarliest, atLatest} {
		offset, err := p.offsetAt(ctx, leader, topic, partition, at)
		if err != nil {
			return nil, err
		}
		ends = append(ends, offset)
	}
	first, end := max(ends[0], ends[1]-int64(n)), ends[1]
	var out []*recordbatch.Record
	for first < end {
		req := fetchRequest(&p, int32(requestTimeout.Milliseconds()/2), []position{{topic: topic, partition: partition, offset: first, epoch: -1}})
		r, v, err := call(ctx, c, leader, cluster.Fetch, req, requestTimeout)
		if err != nil {
			return nil, err
		}
		parts, code, err := decodeFetch(r, v)
		switch {
		case err != nil:
			return nil, err
		case code != kerr.None:
			return nil, code
		case len(parts) != 1:
			return nil, fmt.Errorf("answer to Fetch: %d partitions instead of 1", len(parts))
		case parts[0].code != kerr.None:
			return nil, parts[0].code
		}
		recs, next, err := recordbatch.Decode(parts[0].set, recordbatch.DecodeParams{
			Topic: topic, Partition: partition, Offset: first, Aborted: nil, MaxBatchBytes: 16 << 20,
		})
		if err != nil {
			return nil, err
		}
		if next <= first {
			return nil, fmt.Errorf("the end of %s/%d could not be read: nothing at offset %d", topic, partition, first)
		}
		out, first = append(out, recs...), next
	}
	return out, nil
}

func (p *Params) offsetAt(ctx context.Context, leader int32, topic string, partition int32, at int64) (int64, error) {
	req := listRequest([]position{{topic: topic, partition: partition, offset: at, epoch: -1}}, p.ReadUncommitted)
	r, v, err := call(ctx, p.Cluster, leader, cluster.Control, req, requestTimeout)
	if err != nil {
		return 0, err
	}
	ps, err := decodeList(r, v)
	switch {
	case err != nil:
		return 0, err
	case len(ps) != 1:
		return 0, fmt.Errorf("answer to ListOffsets: %d partitions instead of 1", len(ps))
	case ps[0].code != kerr.None:
		return 0, ps[0].code
	}
	return ps[0].offset, nil
}
