package org.example.shop.carriers;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** Tells in how many days which carrier delivers an article. */
@SpringBootApplication
public class CarriersApplication {
    public static void main(String[] args) {
        SpringApplication.run(CarriersApplication.class, args);
    }
}
