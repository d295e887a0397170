package sim

import "container/list"

// kvCache counts the blocks of the KV cache: private blocks of running
// requests, blocks of prompts that may be shared, and shared blocks that nobody
// uses now, which are given up oldest first.
type kvCache struct {
	total   int
	free    int
	private int
	shared  map[uint64]*sharedBlock // by the hash of the prompt up to its end
	idle    *list.List              // of *sharedBlock without users, oldest first
}

type sharedBlock struct {
	hash  uint64
	users int
	idle  *list.Element
}

func newKVCache(blocks int) *kvCache {
	return &kvCache{total: blocks, free: blocks, shared: map[uint64]*sharedBlock{}, idle: list.New()}
}

// available blocks, idle ones included.
func (c *kvCache) available() int { return c.free + c.idle.Len() }

// used blocks: what a running request holds; idle cached blocks count as free.
func (c *kvCache) used() int { return c.total - c.available() }

// match counts the leading blocks of a prompt that are cached.
func (c *kvCache) match(hashes []uint64) int {
	for i, h := range hashes {
		if c.shared[h] == nil {
			return i
		}
	}
	return len(hashes)
}

// acquire takes the first n cached blocks of a prompt into use.
func (c *kvCache) acquire(hashes []uint64, n int) {
	for _, h := range hashes[:n] {
		b := c.shared[h]
		if b.idle != nil {
			c.idle.Remove(b.idle)
			b.idle = nil
		}
		b.users++
	}
}

// take makes n private blocks; false (and nothing taken) when there are too few.
func (c *kvCache) take(n int) bool {
	if n > c.available() {
		return false
	}
	for c.free < n {
		oldest := c.idle.Front()
		c.idle.Remove(oldest)
		delete(c.shared, oldest.Value.(*sharedBlock).hash)
		c.free++
	}
	c.free -= n
	c.private += n
	return true
}

// publish turns one private block into a shared one; false when another
// request has published the same prompt already, and the block stays private.
func (c *kvCache) publish(hash uint64) bool {
	if c.shared[hash] != nil {
		return false
	}
	c.private--
	c.shared[hash] = &sharedBlock{hash: hash, users: 1}
	return true
}

// release gives up a request's private blocks and its use of shared ones.
func (c *kvCache) release(private int, shared []uint64) {
	c.private -= private
	c.free += private
	// The end of a prompt is given up before its beginning.
	for i := len(shared) - 1; i >= 0; i-- {
		b := c.shared[shared[i]]
		b.users--
		if b.users == 0 {
			b.idle = c.idle.PushBack(b)
		}
	}
}

// flush forgets everything that nobody uses.
func (c *kvCache) flush() {
	for c.idle.Len() > 0 {
		e := c.idle.Front()
		c.idle.Remove(e)
		delete(c.shared, e.Value.(*sharedBlock).hash)
		c.free++
	}
}
