package org.example.shop.delivery;

import java.time.LocalDate;
import java.util.LinkedHashMap;
import java.util.Map;

import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

@RestController
public class DeliveryController {
    private final CarrierClient carriers;
    private final Calendar calendar;

    public DeliveryController(CarrierClient carriers, Calendar calendar) {
        this.carriers = carriers;
        this.calendar = calendar;
    }

    @GetMapping("/delivery/{sku}")
    public Map<String, Object> delivery(@PathVariable String sku) {
        Quote quote = carriers.quote(sku);
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("sku", sku);
        answer.put("carrier", quote.getCarrier());
        answer.put("day", calendar.workday(LocalDate.now(), quote.getDays()).toString());
        return answer;
    }
}
