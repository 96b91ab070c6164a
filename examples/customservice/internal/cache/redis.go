package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
)

// Redis is a [Cache] that all instances of the service share.
type Redis struct {
	client *redis.Client
	ttl    time.Duration
}

// setNewer stores version and body (none is a mark) unless a newer version stands there.
const setNewer = `
local there = redis.call('HGET', KEYS[1], 'version')
if there and tonumber(there) > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'item', ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`

// NewRedis returns a cache at host:port or at a URL such as
// redis://:password@host:6379/0, with rediss:// for TLS. It connects when it is
// used, and gives up within half a second where Redis does not answer.
func NewRedis(address string, ttl time.Duration) (*Redis, error) {
	options := &redis.Options{Addr: address}
	if strings.Contains(address, "://") {
		var err error
		if options, err = redis.ParseURL(address); err != nil {
			// The parser's error may hold the address, and so its password.
			return nil, errors.New("cache: the address of Redis is not host:port or redis://[:password@]host:port[/database]")
		}
	}
	options.DialTimeout = 500 * time.Millisecond
	options.ReadTimeout = 500 * time.Millisecond
	options.WriteTimeout = 500 * time.Millisecond
	options.PoolTimeout = 500 * time.Millisecond
	options.DialerRetries = 1
	options.MaxRetries = -1
	options.ContextTimeoutEnabled = true
	return &Redis{client: redis.NewClient(options), ttl: ttl}, nil
}

// Get implements [Cache].
func (r *Redis) Get(ctx context.Context, id uuid.UUID) (item.Item, bool, error) {
	body, err := r.client.HGet(ctx, key(id), "item").Bytes()
	if errors.Is(err, redis.Nil) {
		return item.Item{}, false, nil
	}
	if err != nil {
		return item.Item{}, false, fmt.Errorf("cache: read: %w", err)
	}
	var it item.Item
	if err := json.Unmarshal(body, &it); err != nil {
		return item.Item{}, false, fmt.Errorf("cache: read: %w", err)
	}
	return it, true, nil
}

// Put implements [Cache].
func (r *Redis) Put(ctx context.Context, it item.Item) error {
	body, err := json.Marshal(it)
	if err != nil {
		return fmt.Errorf("cache: write: %w", err)
	}
	return r.set(ctx, it.ID, it.Version, body)
}

// Invalidate implements [Cache].
func (r *Redis) Invalidate(ctx context.Context, id uuid.UUID, version int64) error {
	return r.set(ctx, id, version, nil)
}

func (r *Redis) set(ctx context.Context, id uuid.UUID, version int64, body []byte) error {
	err := r.client.Eval(ctx, setNewer, []string{key(id)}, version, body, r.ttl.Milliseconds()).Err()
	if err != nil {
		return fmt.Errorf("cache: write: %w", err)
	}
	return nil
}

// Ping implements [Cache].
func (r *Redis) Ping(ctx context.Context) error { return r.client.Ping(ctx).Err() }

// Kind implements [Cache].
func (*Redis) Kind() string { return "Redis" }

// Close implements [Cache].
func (r *Redis) Close() error { return r.client.Close() }

func key(id uuid.UUID) string { return "customservice:item:" + id.String() }
