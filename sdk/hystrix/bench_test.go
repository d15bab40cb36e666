package hystrix_test

import "testing"

// BenchmarkDo compares a call that succeeds, beside hystrix-go's in the same run.
func BenchmarkDo(b *testing.B) {
	for _, s := range sides {
		b.Run(s.name, func(b *testing.B) {
			s.configure("bench", 60_000, 100_000, 1_000_000, 1000, 100)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.do("bench", ok, nil); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
