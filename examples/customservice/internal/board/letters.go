package board

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// Letter is a dead letter that was not redriven yet.
type Letter struct {
	Seen

	OriginalTopic     string    `json:"originalTopic"`
	OriginalPartition int32     `json:"originalPartition"`
	OriginalOffset    int64     `json:"originalOffset"`
	Group             string    `json:"group"`
	ErrorType         string    `json:"errorType"`
	ErrorMessage      string    `json:"errorMessage"`
	Attempts          int       `json:"attempts"`
	FailedAt          time.Time `json:"failedAt"`
}

// mostLetters is how many the page gets; it is told how many there are.
const mostLetters = 200

// Letters tells of the dead letters when they change, until ctx ends.
func (b *Board) Letters(ctx context.Context) {
	b.soon()
	for ctx.Err() == nil {
		timer := time.NewTimer(lettersAfter)
		select {
		case <-b.dirty:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
		letters, total, err := b.readLetters(ctx)
		if err != nil {
			if ctx.Err() == nil {
				b.log.DebugContext(ctx, "The dead letters cannot be read", slog.Any("error", err))
				pause(ctx, 2*time.Second)
				b.soon()
			}
			continue
		}
		b.tell("letters", map[string]any{"total": total, "letters": letters})
		pause(ctx, lettersEvery)
	}
}

// readLetters asks what a redrive would send.
func (b *Board) readLetters(ctx context.Context) ([]Letter, int, error) {
	letters, total := []Letter{}, 0
	for _, topic := range b.letters {
		r := b.redrive(topic, nil)
		r.DryRun = true
		r.Each = func(d messaging.DeadLetter) {
			total++
			letters = append(letters, letterOf(d))
			if len(letters) > mostLetters {
				letters = slices.Delete(letters, 0, 1)
			}
		}
		if _, err := r.Run(ctx); err != nil {
			return nil, 0, err
		}
	}
	slices.SortStableFunc(letters, func(a, b Letter) int { return b.FailedAt.Compare(a.FailedAt) })
	return letters, total, nil
}

func letterOf(d messaging.DeadLetter) Letter {
	l := Letter{
		Seen: seenOf(d.Topic, d.Key, d.Value, d.Headers), OriginalTopic: d.OriginalTopic, OriginalPartition: d.OriginalPartition,
		OriginalOffset: d.OriginalOffset, Group: d.Group, ErrorType: d.ErrorType, ErrorMessage: d.ErrorMessage, Attempts: d.Attempts, FailedAt: d.FailedAt,
	}
	l.Partition, l.Offset, l.Time = d.Partition, d.Offset, d.OriginalTime
	return l
}

func (b *Board) redrive(topic string, groups []string) messaging.Redrive {
	return messaging.Redrive{Config: b.config, DeadLetters: topic, Groups: groups, OnlyFailedGroup: true, Logger: b.log}
}

// Redrive sends the dead letters of a group back to it; of all groups for "".
func (b *Board) Redrive(ctx context.Context, group string) (messaging.RedriveResult, error) {
	var all messaging.RedriveResult
	var groups []string
	if group != "" {
		groups = []string{group}
	}
	defer b.soon()
	for _, topic := range b.letters {
		got, err := b.redrive(topic, groups).Run(ctx)
		all.Read += got.Read
		all.Matched += got.Matched
		all.Sent += got.Sent
		if err != nil {
			return all, fmt.Errorf("redrive %s: %w", topic, err)
		}
	}
	return all, nil
}
