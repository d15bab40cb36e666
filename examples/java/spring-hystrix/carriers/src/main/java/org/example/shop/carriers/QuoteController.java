package org.example.shop.carriers;

import java.util.concurrent.ThreadLocalRandom;

import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PutMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ResponseStatusException;

@RestController
public class QuoteController {
    private volatile Faults faults = new Faults();

    @GetMapping("/quotes/{sku}")
    public Quote quote(@PathVariable String sku) throws InterruptedException {
        Faults now = faults;
        if (now.getDelayMillis() > 0) {
            Thread.sleep(now.getDelayMillis());
        }
        if (ThreadLocalRandom.current().nextInt(100) < now.getErrorPercent()) {
            throw new ResponseStatusException(HttpStatus.BAD_GATEWAY, "the carriers do not answer");
        }
        return new Quote("bicycle", 1 + Math.floorMod(sku.hashCode(), 3));
    }

    @GetMapping("/faults")
    public Faults faults() {
        return faults;
    }

    @PutMapping("/faults")
    public Faults faults(@RequestBody Faults wanted) {
        faults = wanted;
        return wanted;
    }
}
