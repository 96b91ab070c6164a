package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// lockFolder creates the folder where it is missing, sees that it can be written, and keeps other brokers out of it until the
// file is closed.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded: can't create the data folder %s: give WithDataDir a folder that you may write: %w", dir, err)
	}
	lock, err := openLocked(filepath.Join(dir, "embedded.lock"))
	if errors.Is(err, ErrFolderInUse) {
		return nil, fmt.Errorf("embedded: %w: another broker keeps its data in %s: stop it, or give WithDataDir another folder", ErrFolderInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: can't write in the data folder %s: give WithDataDir a folder that you may write: %w", dir, err)
	}
	return lock, nil
}

// forgetUsers removes the users that kfake would otherwise prefer to those of the options.
func forgetUsers(dir string) error {
	if err := os.Remove(filepath.Join(dir, "sasl.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("embedded: can't replace the users in the data folder %s: %w", dir, err)
	}
	return nil
}
