package pid1

import (
	"context"
	"fmt"
)

// reloader does what SIGHUP asks for, one reload after the other.
func (m *machine) reloader(ctx context.Context, asked <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		err := m.reload(ctx)
		if ctx.Err() != nil {
			return
		}
		m.mu.Lock()
		m.reloads++
		m.reloadError = ""
		if err != nil {
			m.reloadError = printable(err.Error())
		}
		text := m.reloadError
		m.mu.Unlock()
		if text != "" {
			m.log.Error("the new configuration is refused; the one before stays in force", "error", text)
		} else {
			m.log.Info("the new configuration is in force")
		}
	}
}

// reload reads the directory again. Nothing changes unless a daemon serves with
// what it says.
func (m *machine) reload(ctx context.Context) error {
	read, err := loadSettings(m.configDir)
	if err != nil {
		return err
	}
	next, err := m.settings.after(read)
	if err != nil {
		return err
	}
	if err := next.validate(); err != nil {
		return err
	}
	for _, s := range m.services {
		if err := s.reload(ctx, next); err != nil {
			return fmt.Errorf("%s did not take it: %w", s.name, err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings = next
	return nil
}
