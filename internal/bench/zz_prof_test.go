package main

import (
	"context"
	"os"
	"testing"
	"strings"
	"sync"
	"syscall"
	"time"
	"github.com/segmentio/kafka-go"
)

func cpu() float64 { var r syscall.Rusage; syscall.Getrusage(0,&r); return float64(r.Utime.Sec+r.Stime.Sec)+float64(r.Utime.Usec+r.Stime.Usec)/1e6 }

func TestZZ(t *testing.T) {
	brokers := strings.Split(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), ",")
	topic := "bench.zz." + time.Now().Format("150405.000")
	c := &kafka.Client{Addr: kafka.TCP(brokers...)}
	c.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 6, ReplicationFactor: 1}}})
	p, err := openOurs(brokers, topic, false)
	if err != nil { t.Fatal(err) }
	pub := p.(*oursPeer).pub
	n := 1000000
	mode := os.Getenv("ZZ")
	start := time.Now(); c0 := cpu()
	if mode == "sync" {
		var wg sync.WaitGroup
		for g := range 1000 { wg.Go(func(){ src := newSource(g, 1000); for range n/1000/4 { if err := pub.Publish(context.Background(), src.event()); err != nil { t.Error(err) } } }) }
		wg.Wait(); n /= 4
	} else {
		src := newSource(0, 1)
		for range n { p.start(context.Background(), src.event()) }
		pub.Flush(context.Background())
	}
	d := time.Since(start)
	t.Logf("%s: %.0f/s, %.2f CPU s/1M", mode, float64(n)/d.Seconds(), (cpu()-c0)*1e6/float64(n))
	pub.Close()
	c.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{topic}})
}
