package org.example.shop.delivery;

import java.time.DayOfWeek;
import java.time.LocalDate;

import com.netflix.hystrix.contrib.javanica.annotation.HystrixCommand;
import com.netflix.hystrix.contrib.javanica.annotation.HystrixProperty;
import org.springframework.stereotype.Service;

/** Counts the days on which somebody delivers. */
@Service
public class Calendar {
    /** On a semaphore, as it waits for nobody. */
    @HystrixCommand(groupKey = "calendar", commandKey = "workday", fallbackMethod = "anyDay", commandProperties = {
        @HystrixProperty(name = "execution.isolation.strategy", value = "SEMAPHORE")
    })
    public LocalDate workday(LocalDate from, int days) {
        if (days < 0) {
            throw new IllegalArgumentException("delivered before it was ordered");
        }
        LocalDate day = from;
        for (int left = days; left > 0; ) {
            day = day.plusDays(1);
            if (day.getDayOfWeek() != DayOfWeek.SUNDAY) {
                left--;
            }
        }
        return day;
    }

    LocalDate anyDay(LocalDate from, int days) {
        return from.plusDays(Math.max(days, 0) + 1);
    }
}
