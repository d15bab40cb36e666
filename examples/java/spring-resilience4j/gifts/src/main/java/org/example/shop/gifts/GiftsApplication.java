package org.example.shop.gifts;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.openfeign.EnableFeignClients;

/** Tells what an article costs as a gift. */
@SpringBootApplication
@EnableFeignClients
public class GiftsApplication {
    public static void main(String[] args) {
        SpringApplication.run(GiftsApplication.class, args);
    }
}
