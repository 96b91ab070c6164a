package consumer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// A process that was frozen for longer than its session begins nothing new before the coordinator has confirmed it.
func TestPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPulse(10*time.Second, time.Now())
		assert.True(t, p.wait(t.Context()))
		<-time.After(10 * time.Second)
		assert.True(t, p.wait(t.Context()))
		<-time.After(time.Nanosecond)

		waited := make(chan bool)
		go func() { waited <- p.wait(t.Context()) }()
		synctest.Wait()
		select {
		case <-waited:
			assert.Fail(t, "it goes on without a confirmation")
		default:
		}
		p.felt(time.Now())
		assert.True(t, <-waited)

		<-time.After(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { waited <- p.wait(ctx) }()
		synctest.Wait()
		cancel()
		assert.False(t, <-waited)
	})
}

func TestALateAnswerIsNoPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPulse(10*time.Second, time.Now())
		sent := time.Now()
		<-time.After(11 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.felt(sent)
		assert.False(t, p.wait(ctx), "it says nothing about now")
		p.felt(time.Now())
		assert.True(t, p.wait(t.Context()))
	})
}
