import java.util.Scanner;

public class Main {
    public static void main(String[] args) {
        Scanner in = new Scanner(System.in);
        String a = in.next(), b = in.next();
        int[] above = new int[b.length() + 1], row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            above[j] = j;
        }
        for (int i = 0; i < a.length(); i++) {
            row[0] = i + 1;
            char c = a.charAt(i);
            for (int j = 0; j < b.length(); j++) {
                int swap = above[j] + (c == b.charAt(j) ? 0 : 1);
                row[j + 1] = Math.min(swap, Math.min(above[j + 1], row[j]) + 1);
            }
            int[] other = above;
            above = row;
            row = other;
        }
        System.out.println(above[b.length()]);
    }
}
